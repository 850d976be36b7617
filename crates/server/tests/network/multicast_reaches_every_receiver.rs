//! One channel, sent once to a group: everybody on the switch records the show, whenever they come, and one packet in
//! fifty may be lost on the way to them.

use crate::lab::frame::{self, Fate, Frame, Toward};
use crate::lab::lan::{Host, Lan};
use crate::recorder::{Recorded, record, record_with};
use crate::support::media;
use crate::support::player::{self, Frames};
use crate::support::server::{Server, Setup};
use crate::support::wait_until;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::thread::{scope, sleep};
use std::time::Duration;

/// 20 s in 516 packets.
const SHOW: &str = "av-300k.wmv";
const PICTURES: usize = 500;
/// In time of the show, which plays at double speed.
const EARLY: &str = "14s";
const LATE: &str = "8s";
const EARLY_PICTURES: usize = 300;
const LATE_PICTURES: usize = 120;
/// Frames at the end of a recording that its cut may have spoiled.
const CUT: usize = 2;

/// A show that begins with its first viewer, and is sent to this group.
fn serve(machine: &Host, group: IpAddr, source: IpAddr) -> Server {
    let mut setup = Setup::new();
    let folder = setup.folder().display().to_string();
    setup.table(&format!("[multicast]\nnsc_directory = \"{folder}\""));
    setup.table(&format!("[server]\npublic_host = \"{}\"", machine.ipv4()));
    setup.file_once("show", &media::file(SHOW), 2.0);
    let address = SocketAddr::new(group, 30_864);
    setup.table(&format!(
        "[channels.show.multicast]\naddress = \"{address}\"\ninterface = \"{source}\"\nttl = 1"
    ));
    machine.serve(setup)
}

/// The announcement, once it is there.
fn announcement(server: &Server) -> PathBuf {
    let path = server.folder().join("show.nsc");
    wait_until(
        "the announcement is written",
        Duration::from_secs(10),
        || path.exists(),
    );
    path
}

/// How many frames at the end of `recorded` are those of the source, one after the other, the last [`CUT`] left aside.
fn true_frames(recorded: &Frames, source: &Frames) -> usize {
    let recorded = &recorded[..recorded.len().saturating_sub(CUT)];
    let ends = (0..source.len()).filter(|end| Some(&source[*end]) == recorded.last());
    let lengths = ends.map(|end| {
        let backwards = source[..=end].iter().rev();
        recorded
            .iter()
            .rev()
            .zip(backwards)
            .take_while(|(got, want)| got == want)
            .count()
    });
    lengths.max().unwrap_or(0)
}

/// One datagram in fifty is lost: never two of a span of ten and its parity packet.
fn one_in_fifty() -> impl FnMut(&Frame<'_>) -> Fate + Send + 'static {
    let mut count = 0;
    move |frame| {
        if frame.toward == Toward::Switch || !frame.is_udp() {
            return Fate::Pass;
        }
        count += 1;
        if count % 50 == 20 {
            Fate::Lose
        } else {
            Fate::Pass
        }
    }
}

/// Three receivers that miss nothing in the end, and a fourth on a line on which much goes wrong.
fn receivers(group: IpAddr, source: impl Fn(&Host) -> IpAddr) {
    let mut lan = Lan::new();
    let (machine, near, late) = (lan.host(), lan.host(), lan.host());
    let (far, line) = lan.host_behind(one_in_fifty());
    let (unlucky, bad_line) = lan.host_behind(frame::rough(0.05, 9));
    let server = serve(&machine, group, source(&machine));
    let nsc = announcement(&server).display().to_string();
    let record_group = |host: &Host, name: &str, time: &str| {
        record_with(
            host,
            &server,
            name,
            &nsc,
            &["--duration", time, "--interface", "eth0"],
        )
    };
    let (on_good_cable, behind_losses, on_bad_line, joined_late) = scope(|scope| {
        let near_one = scope.spawn(|| record_group(&near, "near", EARLY));
        let far_one = scope.spawn(|| record_group(&far, "far", EARLY));
        let unlucky_one = scope.spawn(|| record_group(&unlucky, "unlucky", EARLY));
        for host in [&near, &far, &unlucky] {
            host.wait_for_join(group);
        }
        scope.spawn(|| record(&machine, &server, "viewer", &server.mmst("show")));
        sleep(Duration::from_secs(3));
        let late_one = scope.spawn(|| record_group(&late, "late", LATE));
        let done = "a recording";
        (
            near_one.join().expect(done),
            far_one.join().expect(done),
            unlucky_one.join().expect(done),
            late_one.join().expect(done),
        )
    });
    let source = player::decode(&media::file(SHOW), server.folder());
    assert_eq!(source[0].len(), PICTURES);
    let check = |who: &str, recorded: &Recorded, pictures: usize, wrong_max: usize| {
        let report = format!("{who}, {group}: {}", recorded.ran.report());
        assert_eq!(recorded.missing, 0, "{report}");
        assert!(recorded.ran.stdout.contains(" no gaps"), "{report}");
        let frames = player::decode(&recorded.file, server.folder());
        assert_eq!(frames.len(), 2, "{report}");
        assert!(
            frames[0].len() >= pictures,
            "{} pictures: {report}",
            frames[0].len()
        );
        for (frames, source) in frames.iter().zip(&source) {
            let right = true_frames(frames, source);
            assert!(
                right + CUT + wrong_max >= frames.len(),
                "{right} of {} frames are the source's: {report}",
                frames.len()
            );
        }
    };
    check("near", &on_good_cable, EARLY_PICTURES, 0);
    check("far", &behind_losses, EARLY_PICTURES, 0);
    // Its record begins with a key frame, its sound in the middle of two blocks.
    check("late", &joined_late, LATE_PICTURES, 2);
    let lost = line.counts().to_host.lost;
    assert!(lost >= 7, "{lost} lost");
    // Of eleven losses ten are data: parity packets need no repair.
    assert!(
        (lost / 2..=lost).contains(&behind_losses.restored),
        "{lost} lost, {}",
        behind_losses.ran.report()
    );
    assert_eq!(on_good_cable.restored, 0);
    let report = format!("{:?} {}", bad_line.counts(), on_bad_line.ran.report());
    assert!(on_bad_line.restored >= 5, "{report}");
    let all = on_bad_line.packets + on_bad_line.missing;
    assert!(all.abs_diff(on_good_cable.packets) <= 2, "{report}");
    assert!(
        !player::decode(&on_bad_line.file, server.folder())[0].is_empty(),
        "{report}"
    );
    server.stop();
}

#[test]
fn every_receiver_of_an_ipv4_group() {
    receivers("239.255.77.1".parse().expect("a group"), Host::ipv4);
}

#[test]
fn every_receiver_of_an_ipv6_group() {
    receivers("ff15::77:1".parse().expect("a group"), Host::ipv6);
}

/// A network that carries no multicast: the announcement's other address is played, from the show's beginning on, since
/// nobody else watches.
#[test]
fn without_multicast_the_unicast_address_is_played() {
    let group = "239.255.77.1".parse().expect("a group");
    let mut lan = Lan::new();
    let machine = lan.host();
    let (far, line) = lan.host_behind(|frame: &Frame<'_>| {
        if frame.is_udp() && frame.is_to_group() {
            Fate::Lose
        } else {
            Fate::Pass
        }
    });
    let server = serve(&machine, group, machine.ipv4());
    let nsc = announcement(&server).display().to_string();
    let recorded = record_with(&far, &server, "far", &nsc, &["--open-time", "12s"]);
    let report = recorded.ran.report();
    assert!(
        recorded
            .ran
            .stderr
            .contains("nothing arrives from the group"),
        "{report}"
    );
    assert_eq!((recorded.packets, recorded.missing), (516, 0), "{report}");
    assert_eq!(
        player::decode(&recorded.file, server.folder()),
        player::decode(&media::file(SHOW), server.folder())
    );
    let lost = line.counts().to_host.lost;
    assert!(
        lost > 2,
        "{lost} datagrams to the group: beacons, then the show"
    );
    server.stop();
}
