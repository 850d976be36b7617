//! The main job: ffmpeg encodes live, four players come at different moments, one of them stalls for 20 s.
//! Nothing is missing for the others, and what the stalled one misses is admitted.

use crate::support::asf;
use crate::support::mplayer;
use crate::support::player::{self, Vlc};
use crate::support::server::Setup;
use crate::support::tools;
use crate::support::viewer::Viewer;
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the encoder is watched.
const SHOW: Duration = Duration::from_secs(60);
const STALL_FROM: Duration = Duration::from_secs(22);
const STALL_UNTIL: Duration = Duration::from_secs(42);

const ENCODER: &[&str] = &[
    "ffmpeg",
    "-nostdin",
    "-loglevel",
    "warning",
    "-re",
    "-f",
    "lavfi",
    "-i",
    "testsrc2=size=320x240:rate=25",
    "-f",
    "lavfi",
    "-i",
    "sine=frequency=440:sample_rate=44100",
    "-c:v",
    "wmv2",
    "-b:v",
    "250k",
    "-g",
    "50",
    "-c:a",
    "wmav2",
    "-b:a",
    "48k",
    "-packet_size",
    "1400",
    "-f",
    "asf_stream",
    "-",
];

/// Checks that object numbers run without a gap from the first packet to the last; media seconds covered.
fn contiguous(who: &str, packets: impl Iterator<Item = Vec<u8>>) -> f32 {
    let mut last: HashMap<u8, u32> = HashMap::new();
    let (mut first_ms, mut last_ms) = (None, 0);
    for bytes in packets {
        let packet = asf::packet(&bytes).unwrap_or_else(|| panic!("{who}: a damaged packet"));
        last_ms = packet.send_ms;
        first_ms.get_or_insert(last_ms);
        for payload in packet.payloads.iter().filter(|payload| payload.offset == 0) {
            if let Some(before) = last.insert(payload.stream, payload.object) {
                assert_eq!(
                    payload.object,
                    (before + 1) & 0xff,
                    "{who}: stream {} at {last_ms} ms",
                    payload.stream
                );
            }
        }
    }
    (last_ms - first_ms.unwrap_or(0)) as f32 / 1_000.0
}

/// A player's dump of the stream as packets: what follows the header, cut at the packet size.
fn packets_of(dump: &Path) -> Vec<Vec<u8>> {
    let bytes = crate::support::read(dump);
    let header = usize::try_from(u64::from_le_bytes(
        bytes[16..24].try_into().expect("8 bytes"),
    ))
    .expect("a size")
        + 50;
    bytes[header..]
        .chunks_exact(asf::packet_bytes(&bytes[..header]))
        .map(<[u8]>::to_vec)
        .collect()
}

/// The longest lag any viewer's last line in the server's log tells.
fn longest_lag_ms(log: &Path) -> u64 {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let lags = log.split("lag_ms_max=").skip(1);
    lags.filter_map(|rest| rest.split_whitespace().next()?.parse().ok())
        .max()
        .unwrap_or(0)
}

fn sleep_until(began: Instant, at: Duration) {
    std::thread::sleep(at.saturating_sub(began.elapsed()));
}

#[test]
fn four_players_one_stalled_nothing_missing_for_the_others() {
    tools::need("ffmpeg");
    let mut setup = Setup::new();
    setup.command(
        "live",
        ENCODER,
        "log_seconds = 30\nlag_disconnect_seconds = 28",
    );
    let lm = tools::build_player(setup.folder(), "lm", "mms", "libmms-dev")
        .to_string_lossy()
        .into_owned();
    let server = setup.start();
    let began = Instant::now();
    let folder = server.folder().to_owned();
    let url = server.mmst("live");

    let port = server.port();
    let witness = std::thread::spawn(move || {
        let mut viewer = Viewer::play(port, "live");
        let mut packets = Vec::new();
        while began.elapsed() < SHOW {
            packets.push(viewer.packet().expect("media for the witness"));
        }
        (packets, viewer.gaps)
    });

    sleep_until(began, Duration::from_secs(3));
    let md5 = folder.join("ffmpeg.md5");
    let md5_text = md5.to_string_lossy().into_owned();
    let ffmpeg = [
        "ffmpeg",
        "-nostdin",
        "-hide_banner",
        "-loglevel",
        "warning",
        "-i",
        &url,
        "-map",
        "0",
        "-t",
        "45",
        "-f",
        "framemd5",
        "-y",
        &md5_text,
    ];
    let ffmpeg = player::start(75, &ffmpeg, folder.join("ffmpeg.out"));

    sleep_until(began, Duration::from_secs(7));
    let vlc = Vlc::new(&folder, "live");
    let vlc_dump = vlc.home.join("dump.asf");
    let arguments = vlc.arguments(&[
        "--demux=dump",
        &format!("--demuxdump-file={}", vlc_dump.display()),
        &url,
    ]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let vlc = player::start(90, &arguments, folder.join("vlc.out"));

    sleep_until(began, Duration::from_secs(12));
    let lm_dump = folder.join("lm.asf");
    let stalled = player::start(
        90,
        &[
            "env",
            "LM_RCVBUF=65536",
            &lm,
            &url,
            &lm_dump.to_string_lossy(),
        ],
        folder.join("lm.out"),
    );

    sleep_until(began, Duration::from_secs(16));
    let mplayer = player::start(
        90,
        &[
            "mplayer",
            "-nolirc",
            "-noconfig",
            "all",
            "-vo",
            "null",
            "-nosound",
            "-benchmark",
            "-nocache",
            &url,
        ],
        folder.join("mplayer.out"),
    );

    sleep_until(began, STALL_FROM);
    stalled.signal(libc::SIGSTOP);
    sleep_until(began, STALL_UNTIL);
    stalled.signal(libc::SIGCONT);

    let (packets, gaps) = witness.join().expect("the witness");
    assert_eq!(gaps, 0, "LocationIds of the witness");
    let seconds = contiguous(
        "the witness",
        packets.into_iter().map(|mut bytes| {
            bytes.resize(1_400, 0);
            bytes
        }),
    );
    assert!(seconds > 50.0, "the witness saw {seconds} s");

    let (status, output) = ffmpeg.wait();
    assert!(status.success(), "ffmpeg: {status} {output}");
    assert_eq!(player::complaints(&output), "", "ffmpeg complains");
    let streams = player::frames(&md5);
    assert!(
        streams[0].len() >= 45 * 25 - 3,
        "ffmpeg decoded {} frames",
        streams[0].len()
    );

    // The end of the server is a proper end of stream, at which VLC and libmms close their dumps.
    let log_before_stop = server.log();
    server.stop_then(|_| {
        let (_, output) = vlc.wait();
        let seconds = contiguous("VLC", packets_of(&vlc_dump).into_iter());
        assert!(seconds > 40.0, "VLC received {seconds} s: {output}");
        let (_, output) = mplayer.wait();
        let status = mplayer::status(&output).unwrap_or_else(|| panic!("mplayer: {output}"));
        let frames = status
            .split_once('/')
            .and_then(|(_, after)| after.split_whitespace().next()?.parse::<u32>().ok());
        assert!(
            frames.is_some_and(|frames| frames > 40 * 25),
            "mplayer: {status}"
        );
        let (_, output) = stalled.wait();
        let seconds = contiguous(
            "libmms, stalled within the log",
            packets_of(&lm_dump).into_iter(),
        );
        assert!(seconds > 40.0, "libmms received {seconds} s: {output}");
        // Twenty seconds at 300 kb/s must not vanish in the server's kernel buffers. (The player's own are kept small:
        // this machine's kernel would take all of it, and no server can tell that from a player who reads.)
        let lag_ms = longest_lag_ms(&folder.join("server.log"));
        assert!(lag_ms >= 8_000, "the stalled player lagged {lag_ms} ms");
    });
    assert!(!log_before_stop.contains("panicked"), "{log_before_stop}");
}

/// A viewer that reads nothing for longer than `lag_disconnect_seconds` is closed, and its lag is told.
#[test]
fn a_viewer_that_never_reads_again_is_closed_and_its_lag_logged() {
    tools::need("ffmpeg");
    let mut setup = Setup::new();
    setup.command(
        "live",
        ENCODER,
        "log_seconds = 30\nlag_disconnect_seconds = 6",
    );
    let server = setup.start();
    let mut silent = Viewer::play(server.port(), "live");
    silent.packet().expect("media");
    let address = silent
        .stream()
        .local_addr()
        .expect("an address")
        .to_string();
    let mut good = Viewer::play(server.port(), "live");
    let began = Instant::now();
    let closed = |log: &str| {
        log.lines()
            .any(|line| line.contains(&address) && line.contains("lag"))
    };
    while !closed(&server.log()) {
        assert!(
            began.elapsed() < Duration::from_secs(45),
            "no line about {address} and its lag:\n{}",
            server.log()
        );
        good.packet().expect("media for the good viewer");
    }
    // At 300 kb/s the socket buffers must not hide more than a few seconds.
    assert!(
        began.elapsed() > Duration::from_secs(5),
        "closed after {:?} already",
        began.elapsed()
    );
    assert_eq!(good.gaps, 0);
    // What the kernels still held comes, and then the end: it was closed in the middle of a packet it did not take.
    let rest = std::io::copy(&mut silent.stream(), &mut std::io::sink());
    let reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    assert!(
        rest.as_ref().is_ok() || rest.as_ref().is_err_and(reset),
        "{rest:?}"
    );
    server.stop();
}
