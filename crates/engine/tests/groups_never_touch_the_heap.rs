//! A group on air: neither packets, nor parity, nor beacons touch the heap.

mod group_desk;
mod heap;

use std::time::Duration;

use group_desk::{Desk, announce, body, header, publish};
use heap::OPERATIONS;

#[test]
fn packets_parity_and_beacons() {
    let mut desk = Desk::new(10);
    let mut publisher = announce(&desk.channel, &header(1));
    let (mut operations, mut datagrams, mut next) = (0, 0, 0);
    for tick in 0..2000_u32 {
        // Half of the time nothing comes, so that there are beacons, too. The longest packets come last.
        if tick % 1000 < 500 && tick % 2 == 0 {
            publish(
                &mut publisher,
                desk.now,
                &body(next, 400 + tick as usize / 4),
                0,
            );
            next += 1;
        }
        let before = OPERATIONS.get();
        let (guards, sends, _) = desk.groups.begin(desk.now);
        sends.fill(&guards, |send| {
            datagrams += usize::from(!send.pieces.is_empty())
        });
        let spare = guards.release();
        desk.groups.end(spare);
        desk.groups.sent(0, 400);
        // The first turns find the header and make the list of guards.
        if tick >= 2 {
            operations += OPERATIONS.get() - before;
        } else {
            desk.groups.reports();
        }
        desk.now += Duration::from_millis(10);
    }
    let counters = desk.groups.counters().next().expect("one group");
    assert_eq!((counters.packets, counters.parity), (500, 50));
    assert!(counters.beacons > 2, "{counters:?}");
    assert_eq!(datagrams as u64, 550 + counters.beacons);
    assert_eq!(operations, 0);
}
