//! Once warm, normalising and filtering a packet makes no heap operation.

mod media;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use funnel_asf::{Filter, Header, Mark, Normaliser, Probe, Selection, Thinning, live_header};
use media::file;

struct Counting;

thread_local! {
    static OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system allocator unchanged; counting touches a thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        OPERATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        OPERATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller upholds the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn three_passes_after_the_first_packets() {
    for name in [
        "av-300k.wmv",
        "mbr-3rates.wmv",
        "v-noec.asf",
        "v-lengths.asf",
        "slides-3min.asf",
    ] {
        let source = file(name);
        let mut normaliser = Normaliser::new(&source.header);
        let packet_bytes = normaliser.probe(&source.packets[0]);
        let options = funnel_asf::LiveOptions {
            packet_bytes,
            ..Default::default()
        };
        let header = live_header(&source.header, &options).unwrap().header;
        let mut selection = Selection::NONE;
        selection.set(1, Thinning::KeyFramesOnly);
        selection.set(2, Thinning::All);
        let mut filter = Filter::new(&header, selection);
        let mut run = |packets: &[Vec<u8>]| {
            for raw in packets {
                let ready = normaliser.packet(raw).unwrap().unwrap();
                filter.packet(ready.full).unwrap();
            }
            normaliser.next_pass();
        };
        run(&source.packets[..2]);
        let before = OPERATIONS.with(Cell::get);
        (0..3).for_each(|_| run(&source.packets));
        assert_eq!(OPERATIONS.with(Cell::get) - before, 0, "{name}");
    }
}

#[test]
fn a_probe_channel_after_its_first_packet() {
    let probe = Probe::new(300_000, 1444).unwrap();
    let mut normaliser = Normaliser::new(&Header::parse(&probe.header([7; 16])).unwrap());
    let mut packet = Vec::new();
    let mut run = |seq| {
        probe.packet(seq, seq, &mut packet);
        let ready = normaliser.packet(&packet).unwrap().unwrap();
        assert_eq!(Mark::verify(ready.full).unwrap().seq, seq);
    };
    run(0);
    let before = OPERATIONS.with(Cell::get);
    (1..1000).for_each(run);
    assert_eq!(OPERATIONS.with(Cell::get) - before, 0);
}
