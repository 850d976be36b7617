//! An independent dissector reads the conversation: every command known, nothing malformed.

use crate::support::media;
use crate::support::player::{self, Vlc};
use crate::support::server::Setup;
use crate::support::{tools, wait_until};
use std::time::Duration;

#[test]
fn three_conversations_without_a_malformed_mark() {
    tools::need("dumpcap");
    tools::need("tshark");
    let mut setup = Setup::new();
    let path = media::file("metadata-unicode.wmv");
    for name in ["a", "b", "c"] {
        setup.file_once(name, &path, 4.0);
    }
    let lm = tools::build_player(setup.folder(), "lm", "mms", "libmms-dev");
    let server = setup.start();
    let folder = server.folder().to_owned();
    let capture = folder.join("capture.pcapng").to_string_lossy().into_owned();
    let port = server.port();
    let filter = format!("tcp port {port}");
    let dumpcap = player::start(
        60,
        &["dumpcap", "-i", "lo", "-f", &filter, "-w", &capture],
        folder.join("dumpcap.out"),
    );
    wait_until(
        "dumpcap captures (it needs root or the group wireshark)",
        Duration::from_secs(10),
        || dumpcap.output().contains("File:"),
    );

    let ffmpeg = [
        "ffmpeg",
        "-nostdin",
        "-loglevel",
        "error",
        "-i",
        &server.mmst("a"),
        "-map",
        "0",
        "-t",
        "2",
        "-f",
        "null",
        "-",
    ];
    player::run(30, &ffmpeg).expect_success("ffmpeg");
    let out = folder.join("b.asf");
    player::run(
        30,
        &[
            &lm.to_string_lossy(),
            &server.mmst("b"),
            &out.to_string_lossy(),
        ],
    )
    .expect_success("libmms");
    let vlc = Vlc::new(&folder, "c");
    vlc.run(
        30,
        &[
            "--demux=dump",
            &format!("--demuxdump-file={}/c.asf", vlc.home.display()),
            &server.mmst("c"),
        ],
    )
    .expect_success("VLC");
    dumpcap.signal(libc::SIGINT);
    dumpcap.wait();

    let decode = format!("tcp.port=={port},msmms");
    let tshark = |filter: &str, fields: &[&str]| {
        let mut arguments = vec!["tshark", "-n", "-r", &capture, "-d", &decode, "-Y", filter];
        arguments.extend(fields);
        let ran = player::run(60, &arguments);
        ran.expect_success("tshark");
        ran.stdout
    };
    // A player that leaves in mid-stream resets the connection; tshark warns of that, and it is no fault of the messages.
    let faults = "_ws.malformed or (_ws.expert.severity >= 6291456 and not tcp.flags.reset == 1)";
    assert_eq!(tshark(faults, &[]), "");
    let fields = [
        "-T",
        "fields",
        "-e",
        "msmms.command.direction",
        "-e",
        "msmms.command.to-client-id",
        "-e",
        "msmms.command.to-server-id",
    ];
    let commands = tshark("msmms.command", &fields);
    for answer in [
        "0x0001", "0x0015", "0x0002", "0x0006", "0x0011", "0x0021", "0x0005", "0x001e",
    ] {
        assert!(
            commands.contains(answer),
            "no command {answer} in\n{commands}"
        );
    }
    let summary = tshark("msmms.command", &[]);
    assert!(!summary.contains("Unknown"), "{summary}");
    server.stop();
}
