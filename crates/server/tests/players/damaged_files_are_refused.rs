//! Every damaged file of the test media: refused by name before anything starts, or served as far as it is sound.

use crate::support::asf;
use crate::support::media;
use crate::support::server::{Setup, funnel};
use crate::support::viewer::Viewer;

const REFUSED: &[&str] = &[
    "bad-header-size-huge.asf",
    "bad-object-size-zero.asf",
    "bad-object-past-header.asf",
    "bad-packet-size-zero.asf",
    "bad-packet-size-huge.asf",
    "bad-no-file-properties.asf",
    "bad-stream-data-overrun.asf",
    "bad-stream-number-zero.asf",
    "bad-stream-number-twice.asf",
    "bad-no-data-object.asf",
];

#[test]
fn check_names_every_broken_file_in_one_go() {
    let mut setup = Setup::new();
    for name in REFUSED {
        setup.file_looped(name, &media::file(name));
    }
    setup.file_looped("sound", &media::file("av-300k.wmv"));
    let path = setup.write();
    for command in ["check", "serve"] {
        let ran = funnel(&[command, "--config", &path.to_string_lossy()]);
        assert!(
            !ran.status.success() && !ran.timed_out(),
            "funnel {command}: {}",
            ran.report()
        );
        for name in REFUSED {
            assert!(
                ran.stderr.contains(name),
                "funnel {command} does not name {name}: {}",
                ran.report()
            );
        }
        assert!(
            !ran.stderr.contains("av-300k.wmv"),
            "the sound file is blamed: {}",
            ran.report()
        );
        assert!(!ran.stderr.contains("panicked"), "{}", ran.report());
    }
}

/// (file, packets a viewer gets, whole media objects that begin in them)
const SERVED: &[(&str, usize, usize)] = &[
    ("bad-count-wrong.asf", 8, 8),
    ("truncated.wmv", 100, 120),
    // Two more pass whose only payload lies beyond its object: nothing begins in them, and players drop it.
    ("bad-packets.asf", 22, 20),
];

#[test]
fn what_is_sound_in_a_damaged_file_is_served() {
    let mut setup = Setup::new();
    for (name, _, _) in SERVED {
        setup.file_once(name, &media::file(name), 10.0);
    }
    let path = setup.write();
    funnel(&["check", "--config", &path.to_string_lossy()]).expect_success("funnel check");
    let server = setup.start();
    for (name, packets, objects) in SERVED {
        let mut viewer = Viewer::play(server.port(), name);
        let packet_bytes = asf::packet_bytes(&viewer.header);
        let (mut got_packets, mut got_objects) = (0, 0);
        while let Some(mut bytes) = viewer.packet() {
            bytes.resize(packet_bytes, 0);
            let packet = asf::packet(&bytes)
                .unwrap_or_else(|| panic!("{name}: packet {got_packets} is damaged"));
            got_packets += 1;
            got_objects += packet
                .payloads
                .iter()
                .filter(|payload| payload.offset == 0)
                .count();
        }
        assert_eq!(
            (got_packets, got_objects),
            (*packets, *objects),
            "{name}: packets, objects begun"
        );
        assert_eq!(viewer.gaps, 0, "{name}");
    }
    server.stop();
}
