//! The real server under a real load, for seconds: five hundred viewers get everything, whole and in time, over MMS and HTTP,
//! and over UDP what the network loses is repaired.

#[path = "scripted/tester.rs"]
#[allow(dead_code)] // the other tests use the rest
mod tester;

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tester::{Run, funnel_load};

const VIEWERS: &str = "500";

/// The server with one probe channel; killed when dropped.
struct Funnel {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Funnel {
    fn start() -> Funnel {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (port, config) = (free_port(), dir.path().join("funnel.toml"));
        // Within this machine, and for this server alone.
        let group = format!("239.255.{}.{}:{port}", port >> 8, port & 0xff);
        let text = format!(
            "[listen]\nmms = [\"127.0.0.1:{port}\"]\nhttp = []\n\n\
             [server]\nallow_load_test = true\n\n\
             [channels.probe]\n\
             source = {{ kind = \"probe\", bits_per_second = 300_000, packet_bytes = 1444 }}\n\n\
             [channels.probe.multicast]\n\
             address = \"{group}\"\n\
             ttl = 0\n\
             interface = \"127.0.0.1\"\n\n\
             [multicast]\n\
             nsc_directory = \"{}\"\n",
            dir.path().display()
        );
        std::fs::write(&config, text).expect("the configuration is written");
        let log = File::create(dir.path().join("log")).expect("a file for the server's output");
        let mut child = Command::new(server_binary())
            .args(["serve", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let log = || std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
            let ended = child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "the server ended: {}", log());
            assert!(Instant::now() < deadline, "no port after 10 s: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Funnel { child, port, dir }
    }

    fn load(&self, scheme: &str, requirements: &str, more: &[&str]) -> Run {
        let url = format!("{scheme}://127.0.0.1:{}/probe", self.port);
        let pid = self.child.id().to_string();
        let all = [
            &url,
            "-n",
            VIEWERS,
            "--ramp",
            "500/s",
            "-d",
            "4s",
            "--server-pid",
            &pid,
            "--require",
            requirements,
        ];
        let run = funnel_load(&[&all[..], more].concat());
        assert!(run.report.is_object(), "{}{}", run.text, self.log());
        run
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Funnel {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lies beside the directory of this test's own executable: cargo puts the binaries of a workspace there.
fn server_binary() -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    let target = own.parent().and_then(|deps| deps.parent());
    let binary = target.expect("target/…/deps/smoke").join("funnel");
    assert!(
        binary.is_file(),
        "{} is missing: run 'cargo build -p funnel', or test the whole workspace",
        binary.display()
    );
    binary
}

/// Below the range the kernel hands out, so that no outgoing connection takes it meanwhile; another one each time.
fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + (std::process::id() % 7_000) as u16;
    (first + TAKEN.fetch_add(50, Ordering::Relaxed)..20_000)
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .expect("one of so many ports is free")
}

#[test]
fn five_hundred_viewers_get_everything_in_time() {
    everybody_gets_everything("mms");
}

#[test]
fn so_they_do_over_plain_http() {
    everybody_gets_everything("http");
}

#[test]
fn so_they_do_as_windows_media_players_over_http() {
    everybody_gets_everything("mmsh");
}

fn everybody_gets_everything(scheme: &str) {
    let server = Funnel::start();
    let run = server.load(scheme, "missing=0,failed=0,corrupt=0,delay_p99<2s", &[]);
    assert_eq!(run.code, 0, "{}{}", run.text, server.log());
    assert_eq!(run.at("/passed"), true);
    assert_eq!(run.count("succeeded"), 500);
    // 300 kb/s in packets of 1,444 bytes are 26 a second.
    let packets = run.count("packets");
    assert!(packets > 500 * 26 * 4, "{packets}");
    let cpu = run.number("/usage/server/cpu_us_per_viewer_s");
    assert!(cpu > 0.0, "{cpu} µs");
    // The words by which a server agrees, whatever it speaks.
    let words = run.at("/served/server").as_str().expect("it says them");
    assert!(funnel_session::allows_load_test(words), "{words}");
}

#[test]
fn a_server_that_is_too_slow_for_a_requirement_fails_it() {
    let server = Funnel::start();
    let run = server.load("mms", "failed=0,delay_p99<1us", &[]);
    assert_eq!(run.code, 1, "{}{}", run.text, server.log());
    assert_eq!(run.at("/passed"), false);
    assert_eq!(run.at("/requirements/0/met"), true);
    assert_eq!(run.at("/requirements/1/met"), false);
}

#[test]
fn over_udp_what_is_lost_on_the_way_is_sent_again() {
    let server = Funnel::start();
    let require = "failed=0,corrupt=0,udp_recovered_share>=99%,udp_loss_max<1%";
    let run = server.load("mmsu", require, &["--drop", "1%"]);
    assert_eq!(run.code, 0, "{}{}", run.text, server.log());
    assert_eq!(run.count("succeeded"), 500);
    let packets = run.count("packets");
    assert!(packets > 500 * 26 * 4, "{packets}");
    let dropped = run.number("/datagrams/dropped");
    assert!(dropped > 300.0, "a hundredth of {packets}, but {dropped}");
}

#[test]
fn the_deaf_are_served_as_well() {
    let server = Funnel::start();
    let run = server.load("mmsu", "failed=0,succeeded=500", &["--deaf"]);
    assert_eq!(run.code, 0, "{}{}", run.text, server.log());
    assert_eq!(run.count("packets"), 0);
}

/// Receivers of a multicast get everything too, most of what was lost included.
#[test]
fn a_multicast_is_heard_by_each_of_its_viewers() {
    let server = Funnel::start();
    let announcement = server.dir.path().join("probe.nsc");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !announcement.is_file() {
        assert!(Instant::now() < deadline, "{}", server.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let run = funnel_load(&[
        announcement
            .to_str()
            .expect("temporary directories are UTF-8"),
        "--interface=127.0.0.1",
        "--viewers=50",
        "--duration=4s",
        "--drop=1%",
        "--verify=100%",
        "--require=failed=0,corrupt=0,udp_recovered_share>=50%",
    ]);
    assert_eq!(run.code, 0, "{}{}", run.text, server.log());
    assert_eq!(run.count("succeeded"), 50);
    assert_eq!(run.at("/served/protocol"), "multicast");
    let packets = run.count("packets");
    assert!(packets > 50 * 26 * 4, "{packets}");
    assert_eq!(
        run.at("/counts/missing"),
        run.at("/datagrams/lost"),
        "{:#}",
        run.report
    );
}
