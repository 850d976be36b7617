//! One turn of the engine in which everybody is due: `begin`, `fill`, the kernel's answers.
//!
//! The transport takes everything and touches no byte, so this is what funnel spends above the kernel. Before any timing,
//! heap operations are counted: a steady turn must make none.

use std::cell::RefCell;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use funnel_benches::heap::{self, Counting};
use funnel_benches::house::{House, Plan, STEP, Turned};

#[global_allocator]
static HEAP: Counting = Counting;

const VIEWERS: usize = 10_000;

fn main() {
    count_heap_operations();
    divan::main();
}

/// Prints heap operations of a hundred steady turns, and fails unless there are none.
fn count_heap_operations() {
    let mut house = House::new(Plan::of(VIEWERS));
    let (operations, turned) = heap::operations(|| {
        let mut sum = Turned::default();
        for _ in 0..100 {
            house.advance(STEP, 5);
            let turned = house.turn();
            assert_eq!(turned, house.everybody());
            sum.sends += turned.sends;
            sum.pieces += turned.pieces;
        }
        sum
    });
    println!(
        "steady state: {} viewers, 100 turns, {} sends, {} packets, {operations} heap operations",
        VIEWERS,
        turned.sends,
        turned.pieces / 2
    );
    assert_eq!(
        operations, 0,
        "a turn that only sends media leaves the heap alone"
    );
}

/// Times turns in which every viewer has a whole train due. Publishing is not in the time.
fn time_turns(bencher: Bencher<'_, '_>, plan: Plan, items: usize) {
    let house = RefCell::new(House::new(plan));
    let expected = house.borrow().everybody();
    bencher
        .counter(ItemsCount::new(items))
        .with_inputs(|| house.borrow_mut().advance(STEP, plan.train_packets))
        .bench_local_values(|()| assert_eq!(house.borrow_mut().settle(), expected));
}

/// 10,000 viewers with 5 packets each; items are viewers.
#[divan::bench(args = [1, 16], sample_count = 200, sample_size = 1)]
fn viewers_by_channels(bencher: Bencher<'_, '_>, channels: usize) {
    let plan = Plan {
        channels,
        ..Plan::of(VIEWERS)
    };
    time_turns(bencher, plan, plan.viewers);
}

/// 10,000 viewers on one channel; items are viewers.
#[divan::bench(args = [1, 5, 20], sample_count = 200, sample_size = 1)]
fn viewers_by_train_packets(bencher: Bencher<'_, '_>, train_packets: usize) {
    let plan = Plan {
        train_packets,
        ..Plan::of(VIEWERS)
    };
    time_turns(bencher, plan, plan.viewers);
}

/// One channel, 5 packets each; items are viewers.
#[divan::bench(args = [100, 1_000, 10_000, 20_000], sample_count = 200, sample_size = 1)]
fn viewers_by_house(bencher: Bencher<'_, '_>, viewers: usize) {
    time_turns(bencher, Plan::of(viewers), viewers);
}

/// 10,000 viewers due at once, but the ring takes so many sends a turn (the shards: 1,024); items are viewers.
#[divan::bench(args = [256, 1_024, 4_096, 10_000], sample_count = 100, sample_size = 1)]
fn viewers_by_sends_per_turn(bencher: Bencher<'_, '_>, sends_max: usize) {
    let plan = Plan {
        sends_max,
        ..Plan::of(VIEWERS)
    };
    time_turns(bencher, plan, plan.viewers);
}

/// What a shard really does: a turn each 5 ms, in which those are visited whose time has come; packets come one by one.
/// One iteration is 200 ms of virtual time with 5 packets; items are visits to viewers.
#[divan::bench(sample_count = 100, sample_size = 1)]
fn visits_spread_over_the_train(bencher: Bencher<'_, '_>) {
    const TURNS: usize = 40;
    let house = RefCell::new(House::new(Plan::of(VIEWERS)));
    bencher.counter(ItemsCount::new(VIEWERS)).bench_local(|| {
        let mut house = house.borrow_mut();
        let mut sends = 0;
        for turn in 0..TURNS {
            house.advance(Duration::from_millis(5), usize::from(turn % 8 == 0));
            sends += house.turn().sends;
        }
        sends
    });
}

/// A turn in which nobody is due, with 10,000 viewers asleep.
#[divan::bench(sample_count = 1000, sample_size = 1)]
fn idle_turn(bencher: Bencher<'_, '_>) {
    let house = RefCell::new(House::new(Plan::of(VIEWERS)));
    house.borrow_mut().settle();
    bencher.bench_local(|| assert_eq!(house.borrow_mut().turn(), Turned::default()));
}

/// A viewer connects, shakes hands (5 requests, each answered by a turn) and gets its first train, while 1,000 play.
#[divan::bench(sample_count = 1000, sample_size = 1)]
fn join(bencher: Bencher<'_, '_>) {
    let house = RefCell::new(House::new(Plan::of(1000)));
    house.borrow_mut().settle();
    bencher
        .counter(ItemsCount::new(1usize))
        .bench_local_values_and_leave(&house);
}

/// Joins are timed, leaving is not.
trait Joining {
    fn bench_local_values_and_leave(self, house: &RefCell<House>);
}

impl Joining for Bencher<'_, '_> {
    fn bench_local_values_and_leave(self, house: &RefCell<House>) {
        let guest = RefCell::new(None);
        self.with_inputs(|| {
            if let Some(key) = guest.take() {
                house.borrow_mut().leave(key);
            }
        })
        .bench_local_values(|()| {
            let key = house.borrow_mut().join(0);
            guest.replace(Some(key));
        });
    }
}
