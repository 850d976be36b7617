//! What an operator configures is what viewers see: the demo, IPv6, when a clock starts, fast start, limits.

use crate::support::asf;
use crate::support::media;
use crate::support::player;
use crate::support::server::Setup;
use crate::support::viewer::Viewer;
use std::net::{Ipv6Addr, TcpStream};
use std::time::{Duration, Instant};

fn send_ms(bytes: &[u8], packet_bytes: usize) -> u32 {
    let mut bytes = bytes.to_vec();
    bytes.resize(packet_bytes, 0);
    asf::packet(&bytes).expect("a sound packet").send_ms
}

#[test]
fn the_demo_is_there_without_any_file() {
    let mut setup = Setup::new();
    setup.channel("demo", "source = { kind = \"demo\" }");
    let server = setup.start();
    let entries = "stream=codec_name:format_tags=title";
    let ran = player::run(
        30,
        &[
            "ffprobe",
            "-v",
            "error",
            "-show_entries",
            entries,
            "-of",
            "csv=p=0",
            &server.mmst("demo"),
        ],
    );
    ran.expect_success("ffprobe on the demo");
    let words: Vec<&str> = ran.stdout.split_whitespace().collect();
    assert_eq!(words, ["wmv2", "wmav2", "funnel", "demo"]);
    server.stop();
}

#[test]
fn players_reach_it_over_ipv6() {
    let mut setup = Setup::new();
    setup.listen_also_on_ipv6();
    setup.file_looped("show", &media::file("av-300k.wmv"));
    let server = setup.start();
    let stream = TcpStream::connect((Ipv6Addr::LOCALHOST, server.port()))
        .expect("the server listens on ::1");
    let mut viewer = Viewer::on(stream);
    assert_eq!(viewer.open("show").result(), 0);
    drop(viewer);
    let url = format!("mmst://[::1]:{}/show", server.port());
    let ran = player::run(
        30,
        &[
            "ffmpeg",
            "-nostdin",
            "-loglevel",
            "error",
            "-i",
            &url,
            "-map",
            "0",
            "-t",
            "2",
            "-f",
            "null",
            "-",
        ],
    );
    ran.expect_success("ffmpeg over IPv6");
    server.stop();
}

/// A player that reads the header and leaves, as xine does first, starts nothing.
#[test]
fn a_first_viewer_channel_waits_for_the_first_start_playing() {
    let mut setup = Setup::new();
    setup.file_once("show", &media::file("av-300k.wmv"), 1.0);
    let server = setup.start();
    let mut curious = Viewer::connect(server.port());
    assert_eq!(curious.open("show").result(), 0);
    curious.read_header();
    drop(curious);
    std::thread::sleep(Duration::from_millis(1_500));
    let mut viewer = Viewer::play(server.port(), "show");
    let packet_bytes = asf::packet_bytes(&viewer.header);
    let first = viewer.packet().expect("media");
    assert_eq!(
        send_ms(&first, packet_bytes),
        0,
        "the show begins with its first packet"
    );
    server.stop();
}

/// Open players wish for no acceleration: they get the last `fast_start_seconds` at once, then real time.
#[test]
fn a_new_viewer_gets_its_buffer_filled_at_once() {
    let mut setup = Setup::new();
    let path = media::file("av-300k.wmv").display().to_string();
    setup.channel(
        "show",
        &format!("source = {{ kind = \"file\", path = \"{path}\", loop = true }}\nstart = \"always\"\nfast_start_seconds = 6"),
    );
    let server = setup.start();
    std::thread::sleep(Duration::from_secs(9));
    let mut viewer = Viewer::play(server.port(), "show");
    let packet_bytes = asf::packet_bytes(&viewer.header);
    let began = Instant::now();
    let first = send_ms(&viewer.packet().expect("media"), packet_bytes);
    let mut last = first;
    while began.elapsed() < Duration::from_secs(1) {
        last = send_ms(&viewer.packet().expect("media"), packet_bytes);
    }
    // Key frames are 2 s apart: the burst holds between 4 and 6 s, and one second has passed meanwhile.
    assert!(
        (4_000..9_500).contains(&(last - first)),
        "{} ms of media in the first second",
        last - first
    );
    let real_time_from = Instant::now();
    let from = last;
    while real_time_from.elapsed() < Duration::from_secs(3) {
        last = send_ms(&viewer.packet().expect("media"), packet_bytes);
    }
    assert!(
        (2_000..4_500).contains(&(last - from)),
        "{} ms of media in 3 s of real time",
        last - from
    );
    server.stop();
}

#[test]
fn the_viewer_above_the_limit_is_told_so_and_a_place_becomes_free_again() {
    let mut setup = Setup::new();
    setup.file_looped("show", &media::file("av-300k.wmv"));
    setup.table("[limits]\nviewers = 2\n");
    let server = setup.start();
    let first = Viewer::play(server.port(), "show");
    let _second = Viewer::play(server.port(), "show");
    let refused = refusal(server.port());
    assert!(
        [0xc00d_000f, 0xc00d_0049].contains(&refused),
        "{refused:#010x} instead of NS_E_TOO_MANY_SESS or NS_E_MAX_CLIENTS"
    );
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(10);
    while refusal(server.port()) != 0 {
        assert!(
            Instant::now() < deadline,
            "the place of the one who left stays taken"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    server.stop();
}

/// The code with which a newcomer is refused, at Connect or at OpenFile; 0: it was let in (and left).
fn refusal(port: u16) -> u32 {
    use crate::support::viewer::{answer, ask, connect, connect_funnel, open_file};
    let mut viewer = Viewer::connect(port);
    viewer.send(
        ask::CONNECT,
        &connect("NSPlayer/7.0.0.1956; {5E1A7D02-93C4-4B6F-8D21-6A0B9C3F4E77}; Host: h"),
    );
    let connected = viewer.answer(answer::CONNECTED).result();
    if connected != 0 {
        return connected;
    }
    viewer.send(ask::CONNECT_FUNNEL, &connect_funnel());
    viewer.answer(answer::CONNECTED_FUNNEL);
    viewer.send(ask::OPEN_FILE, &open_file("show"));
    viewer.answer(answer::OPEN_FILE).result()
}

#[test]
fn a_source_that_says_nothing_is_a_stopped_publishing_point() {
    let mut setup = Setup::new();
    setup.command("silent", &["sleep", "60"], "open_wait_seconds = 2");
    let server = setup.start();
    let mut viewer = Viewer::connect(server.port());
    let began = Instant::now();
    assert_eq!(
        viewer.open("silent").result(),
        0xc00d_145e,
        "NS_E_PUBLISHING_POINT_STOPPED"
    );
    let took = began.elapsed();
    assert!(
        (Duration::from_millis(1_000)..Duration::from_secs(8)).contains(&took),
        "answered after {took:?}"
    );
    server.stop();
}

/// What the source says on its standard error is found in the server's log.
#[test]
fn a_commands_complaints_are_logged() {
    let mut setup = Setup::new();
    setup.command(
        "broken",
        &["sh", "-c", "echo the camera is unplugged >&2; exit 3"],
        "",
    );
    let server = setup.start();
    crate::support::wait_until(
        "the complaint is in the log",
        Duration::from_secs(10),
        || server.log().contains("the camera is unplugged"),
    );
    server.stop();
}
