//! One turn of the engine in which everybody is due: `begin`, `fill`, the kernel's answers.
//!
//! The transport takes everything and touches no byte, so this is what funnel spends above the kernel. Before any timing,
//! heap operations are counted: a steady turn must make none.

use std::cell::RefCell;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use funnel_benches::clock::{self, median};
use funnel_benches::heap::{self, Counting};
use funnel_benches::house::{House, Over, PACKET_BYTES, Plan, STEP, Turned};

#[global_allocator]
static HEAP: Counting = Counting;

const VIEWERS: usize = 10_000;
/// What the kernel copies for one train of everybody.
const SWEPT_BYTES: usize = VIEWERS * 5 * (PACKET_BYTES + 8);

fn main() {
    tell_cpu_and_heap();
    tell_swept();
    tell_pings();
    divan::main();
}

/// A house and how its time is spent.
struct Scene {
    name: &'static str,
    house: House,
    run: fn(&mut House),
    packets: usize,
    cpu_ns: Vec<f64>,
    /// Everybody is due in one turn.
    gathered: bool,
}

impl Scene {
    fn gathered(name: &'static str, plan: Plan) -> Self {
        Self {
            name,
            house: House::gathered(plan),
            run: |house| {
                let turned = house.settle();
                house.check_everybody(turned);
            },
            packets: plan.train_packets,
            cpu_ns: Vec::new(),
            gathered: true,
        }
    }

    fn spread(name: &'static str, plan: Plan) -> Self {
        Self {
            name,
            house: House::spread(plan),
            run: |house| {
                // A visit may fall on either side of the window's edge.
                let sends = house.live_one_train();
                assert!(sends.abs_diff(VIEWERS) < VIEWERS / 50, "{sends} sends");
            },
            packets: plan.train_packets,
            cpu_ns: Vec::new(),
            gathered: false,
        }
    }

    /// Publishes, runs, and returns the heap operations of the run.
    fn play(&mut self) -> u64 {
        if self.gathered {
            self.house.advance(STEP, self.packets);
        }
        let (operations, (time, ())) =
            heap::operations(|| clock::timed(|| (self.run)(&mut self.house)));
        self.cpu_ns.push(time.as_nanos() as f64 / VIEWERS as f64);
        operations
    }
}

/// Prints CPU time and heap operations of steady turns, the scenes interleaved, and fails unless the heap was left alone.
fn tell_cpu_and_heap() {
    let of = |channels, train_packets| Plan {
        channels,
        train_packets,
        ..Plan::of(VIEWERS)
    };
    let mut scenes = [
        Scene::gathered("all due, 1 channel, trains of 1", of(1, 1)),
        Scene::gathered("all due, 1 channel, trains of 5", of(1, 5)),
        Scene::gathered("all due, 1 channel, trains of 20", of(1, 20)),
        Scene::gathered("all due, 16 channels, trains of 5", of(16, 5)),
        Scene::gathered("all due, UDP, trains of 1", of(1, 1).over(Over::Udp)),
        Scene::gathered("all due, UDP, trains of 5", of(1, 5).over(Over::Udp)),
        Scene::gathered("all due, UDP, trains of 20", of(1, 20).over(Over::Udp)),
        Scene::gathered(
            "all due, shared heads, trains of 5",
            of(1, 5).over(Over::Wmsp),
        ),
        Scene::gathered("all due, chunks, trains of 5", of(1, 5).over(Over::Chunked)),
        Scene::gathered("all due, no heads, trains of 5", of(1, 5).over(Over::Plain)),
        Scene::spread("spread over 200 ms, trains of 5", of(1, 5)),
        Scene::spread(
            "spread, shared heads, trains of 5",
            of(1, 5).over(Over::Wmsp),
        ),
        Scene::spread("spread, no heads, trains of 5", of(1, 5).over(Over::Plain)),
        Scene::spread(
            "spread over 200 ms, UDP, trains of 5",
            of(1, 5).over(Over::Udp),
        ),
    ];
    let rounds = if clock::is_bench() { 101 } else { 1 };
    let mut operations = 0;
    for _ in 0..rounds {
        for scene in &mut scenes {
            operations += scene.play();
        }
    }
    println!("{VIEWERS} viewers, thread CPU time, median of {rounds} interleaved rounds:");
    for scene in &scenes {
        let visit = median(&scene.cpu_ns);
        let best = scene.cpu_ns.iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "  {:<36} {visit:7.1} ns a visit (best {best:.1}), {:5.1} ns a packet, {:.2} µs/s a viewer at 5 visits/s",
            scene.name,
            visit / scene.packets as f64,
            visit * 5.0 / 1000.0
        );
    }
    println!("  heap operations in all these turns: {operations}");
    assert_eq!(
        operations, 0,
        "a turn that only sends media leaves the heap alone"
    );
}

/// Prints what a visit costs when the kernel has gone through as many bytes of socket buffers as were sent: each train
/// sweeps [`SWEPT_BYTES`], more than the third-level cache holds, as it does on a server. The sweep's own time is taken off.
fn tell_swept() {
    let mut house = House::spread(Plan::of(VIEWERS));
    let mut buffers = vec![0u8; SWEPT_BYTES];
    let mut at = 0;
    let rounds = if clock::is_bench() { 51 } else { 1 };
    let mut cpu_ns = Vec::new();
    for _ in 0..rounds {
        let mut kernel = Duration::ZERO;
        let (time, sends) = clock::timed(|| {
            house.live_one_train_with(&mut |bytes| {
                let (time, ()) = clock::timed(|| {
                    at = if at + bytes > SWEPT_BYTES { 0 } else { at };
                    let end = (at + bytes).min(SWEPT_BYTES);
                    buffers[at..end].fill(end as u8); // any value that changes
                    at = end;
                });
                kernel += time;
            })
        });
        cpu_ns.push(time.saturating_sub(kernel).as_nanos() as f64 / sends as f64);
    }
    println!(
        "  {:<36} {:7.1} ns a visit, caches swept by what was sent",
        "spread over 200 ms, trains of 5",
        median(&cpu_ns)
    );
    assert_ne!(std::hint::black_box(&buffers)[0], 0);
}

/// Prints what keep-alive adds: the one thing of steady viewers that is not media. Here all are pinged in the same turn, since
/// all came at the same time. Fails unless the heap was left alone, after the first time.
fn tell_pings() {
    let plan = Plan {
        ping: Duration::from_secs(30),
        ..Plan::of(VIEWERS)
    };
    let mut house = House::spread(plan);
    let trains = 150;
    let mut live = || (0..trains).map(|_| house.live_one_train()).sum::<usize>();
    live();
    let (operations, sends) = heap::operations(live);
    let pings = sends.saturating_sub(trains * VIEWERS);
    println!(
        "{trains} trains with Pings each 30 s: about {pings} Pings, {operations} heap operations"
    );
    assert!(pings > VIEWERS * 9 / 10, "everybody is pinged once");
    assert_eq!(operations, 0, "Pings leave the heap alone");
}

/// Times turns in which every viewer has a whole train due. Publishing is not in the time.
fn time_turns(bencher: Bencher<'_, '_>, plan: Plan, items: usize) {
    let house = RefCell::new(House::gathered(plan));
    bencher
        .counter(ItemsCount::new(items))
        .with_inputs(|| house.borrow_mut().advance(STEP, plan.train_packets))
        .bench_local_values(|()| {
            let mut house = house.borrow_mut();
            let turned = house.settle();
            house.check_everybody(turned);
        });
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

/// 10,000 viewers over UDP, a train of each cut by the kernel; items are viewers.
#[divan::bench(args = [1, 5, 20], sample_count = 200, sample_size = 1)]
fn viewers_over_udp_by_train_packets(bencher: Bencher<'_, '_>, train_packets: usize) {
    let plan = Plan {
        train_packets,
        ..Plan::of(VIEWERS).over(Over::Udp)
    };
    time_turns(bencher, plan, plan.viewers);
}

/// What a shard really does: a turn each 5 ms, in which those are visited whose time has come; packets come one by one.
/// One iteration is 200 ms of virtual time with 5 packets, publishing included; items are visits to viewers.
#[divan::bench(sample_count = 100, sample_size = 1)]
fn visits_spread_over_the_train(bencher: Bencher<'_, '_>) {
    let house = RefCell::new(House::spread(Plan::of(VIEWERS)));
    bencher
        .counter(ItemsCount::new(VIEWERS))
        .bench_local(|| house.borrow_mut().live_one_train());
}

/// A turn in which nobody is due, with 10,000 viewers asleep.
#[divan::bench(sample_count = 1000, sample_size = 1)]
fn idle_turn(bencher: Bencher<'_, '_>) {
    let house = RefCell::new(House::gathered(Plan::of(VIEWERS)));
    house.borrow_mut().settle();
    bencher.bench_local(|| assert_eq!(house.borrow_mut().turn(), Turned::default()));
}

/// A viewer connects, shakes hands (5 requests, each answered by a turn) and gets its first train, while 1,000 play.
#[divan::bench(sample_count = 1000, sample_size = 1)]
fn join(bencher: Bencher<'_, '_>) {
    let house = RefCell::new(House::gathered(Plan::of(1000)));
    house.borrow_mut().settle();
    let guest = RefCell::new(None);
    bencher
        .counter(ItemsCount::new(1usize))
        .with_inputs(|| {
            if let Some(key) = guest.take() {
                house.borrow_mut().leave(key);
            }
        })
        .bench_local_values(|()| {
            let key = house.borrow_mut().join(0);
            guest.replace(Some(key));
        });
}
