//! Probe channels on air: every packet comes out once, in order, at its due time, whatever the rate.

mod common;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use common::*;
use funnel_asf::{Header, Mark, Probe, probe::is_probe};
use funnel_channel::{Air, Channel, Epoch, Form, Start};
use funnel_ingest::{Source, spawn};

fn probe(bits_per_second: u32, packet_bytes: u32) -> Probe {
    Probe::new(bits_per_second, packet_bytes).expect("in range")
}

fn unix_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.expect("after 1970").as_nanos()).expect("before 2554")
}

fn epoch_of(channel: &Channel, number: u64) -> Arc<Epoch> {
    wait_for("an epoch", || {
        channel
            .snapshot()
            .epoch
            .filter(|epoch| epoch.number == number)
    })
}

/// Every mark of the log that is there now, verified.
fn marks(epoch: &Epoch) -> Vec<Mark> {
    let mut reader = epoch.log.reader().expect("a free place");
    let guard = reader.pin();
    assert_eq!(guard.head(), 0, "the log holds everything");
    let mark = |seq| {
        let packet = guard.packet(seq).expect("pinned");
        assert!(packet.clean_point(), "viewers can begin with each");
        Mark::verify(packet.bytes(Form::Full, false)).expect("a sound packet")
    };
    (0..guard.tail()).map(mark).collect()
}

#[test]
fn packets_are_marked_consecutive_and_due_as_they_say() {
    let probes = [
        probe(300_000, 1444),
        probe(8_000, 256),
        probe(20_000_000, 1444),
        probe(64_000_000, 64_000),
    ];
    let channels: Vec<_> = probes
        .iter()
        .map(|_| channel("probe", Start::Always))
        .collect();
    let specs = probes
        .iter()
        .zip(&channels)
        .map(|(probe, channel)| spec(channel, Source::Probe(*probe)));
    let before_ns = unix_ns();
    let ingest = spawn(specs.collect()).expect("a ring");
    let epochs: Vec<_> = channels
        .iter()
        .map(|channel| epoch_of(channel, 1))
        .collect();
    let began = Instant::now();
    for (probe, epoch) in probes.iter().zip(&epochs) {
        let wanted = probe.packets_until(Duration::from_secs(1));
        wait_for("a second of packets", || {
            (epoch.log.counters().tail >= wanted).then_some(())
        });
    }
    assert!(
        began.elapsed() > Duration::from_millis(900),
        "nothing comes before its time"
    );
    let after_ns = unix_ns();
    for (probe, epoch) in probes.iter().zip(&epochs) {
        let header = Header::parse(&epoch.header).expect("a sound header");
        assert_eq!(is_probe(&header), Some(*probe));
        assert_eq!(epoch.bit_rate, probe.bits_per_second());
        let marks = marks(epoch);
        let start_ns = marks[0].due_unix_ns;
        assert!((before_ns..after_ns).contains(&start_ns));
        for (seq, mark) in (0..).zip(&marks) {
            let due_ns = u64::try_from(probe.due(seq).as_nanos()).expect("a second");
            assert_eq!(mark.seq, seq);
            assert_eq!(mark.due_unix_ns, start_ns + due_ns);
        }
    }
    ingest.stop();
}

#[test]
fn with_the_first_viewer_a_run_begins_at_0() {
    let channel = channel("probe", Start::FirstViewer);
    let probe = probe(1_000_000, 1444);
    let timing = funnel_ingest::Timing {
        idle: Duration::from_millis(50),
        ..Default::default()
    };
    let spec = spec(&channel, Source::Probe(probe));
    let ingest = funnel_ingest::spawn_timed(vec![spec], timing).expect("a ring");
    for run in 1..=2 {
        let epoch = epoch_of(&channel, run);
        wait_for_air(&channel, Air::Ready);
        assert_eq!(
            epoch.log.counters().tail,
            0,
            "nothing before somebody plays"
        );
        let asked_ns = unix_ns();
        channel.viewer_started();
        wait_for("some packets", || {
            (epoch.log.counters().tail > 20).then_some(())
        });
        channel.viewer_left();
        let marks = marks(&epoch);
        assert!(
            marks[0].due_unix_ns >= asked_ns,
            "the clock starts with the viewer"
        );
        assert!(marks.iter().map(|mark| mark.seq).eq(0..marks.len() as u64));
    }
    ingest.stop();
}
