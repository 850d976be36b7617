//! A probe channel's marks tell the truth: nothing is missing or damaged, and a server that was stopped shows as delay.

use crate::support::player;
use crate::support::server::{Server, Setup};
use funnel_asf::Header;
use funnel_asf::probe::{Mark, Probe, is_probe};
use funnel_session::allows_load_test;
use funnel_session::client::{Event, Input, Options, Output, Session};
use funnel_session::url::Url;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Our own player, which keeps the mark of every packet.
struct Viewer {
    stream: TcpStream,
    session: Session,
    product: Option<String>,
    probe: Option<Probe>,
    arrived: Vec<Arrival>,
}

#[derive(Clone, Copy)]
struct Arrival {
    mark: Mark,
    /// Behind its due time.
    delay: Duration,
}

impl Viewer {
    fn join(server: &Server, channel: &str) -> Viewer {
        let stream = TcpStream::connect(("127.0.0.1", server.port())).expect("the server runs");
        stream
            .set_read_timeout(Some(Duration::from_millis(10)))
            .expect("a timeout");
        let url: Url = server.mmst(channel).parse().expect("a URL");
        Viewer {
            stream,
            session: Session::new(Arc::new(url), Arc::new(Options::default()), Instant::now()),
            product: None,
            probe: None,
            arrived: Vec::new(),
        }
    }

    /// Plays until `enough` or, at last, for 20 s.
    fn play_until(&mut self, what: &str, mut enough: impl FnMut(&[Arrival]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut buffer = vec![0; 64 << 10];
        while !enough(&self.arrived) {
            assert!(Instant::now() < deadline, "never happened: {what}");
            self.drain();
            let input = match self.stream.read(&mut buffer) {
                Ok(0) => panic!("the server closed the connection"),
                Ok(count) => Input::Received(&buffer[..count]),
                Err(_) => Input::Timeout,
            };
            self.session.handle_input(Instant::now(), input);
            self.drain();
        }
    }

    fn drain(&mut self) {
        loop {
            match self.session.poll_output() {
                Output::Send(bytes) => self.stream.write_all(bytes).expect("sent"),
                Output::Idle { .. } | Output::Datagram(_) => return,
                Output::Event(Event::Connected { product, .. }) => self.product = product,
                Output::Event(Event::Header(bytes)) => {
                    self.probe = is_probe(&Header::parse(bytes).expect("a sound header"));
                }
                Output::Event(Event::Packet { bytes, .. }) => {
                    let mark = Mark::verify(bytes).expect("a whole packet");
                    let now = SystemTime::now()
                        .duration_since(UNIX_EPOCH)
                        .expect("after 1970");
                    let due = Duration::from_nanos(mark.due_unix_ns);
                    let delay = now
                        .checked_sub(due)
                        .expect("nothing comes before it is due");
                    self.arrived.push(Arrival { mark, delay });
                }
                Output::Event(Event::Close(reason)) => panic!("closed: {reason:?}"),
                Output::Event(_) => {}
            }
        }
    }
}

fn assert_consecutive(arrived: &[Arrival], probe: &Probe) {
    let first = arrived[0].mark;
    for (seq, arrival) in (first.seq..).zip(arrived) {
        assert_eq!(arrival.mark.seq, seq, "nothing is missing");
        let since_first = arrival.mark.due_unix_ns - first.due_unix_ns;
        let expected = probe.due(seq) - probe.due(first.seq);
        // Both were rounded to whole nanoseconds.
        assert!(since_first.abs_diff(expected.as_nanos() as u64) <= 1);
    }
}

/// Packets that were due at least `after` behind the first of `arrived`.
fn due_after(arrived: &[Arrival], after: Duration) -> impl Iterator<Item = &Arrival> {
    let from = arrived
        .first()
        .map_or(u64::MAX, |first| first.mark.due_unix_ns)
        .saturating_add(after.as_nanos() as u64);
    arrived
        .iter()
        .filter(move |arrival| arrival.mark.due_unix_ns >= from)
}

fn server(rate: &str, more: &str) -> Server {
    let mut setup = Setup::new();
    setup.table(&format!("[server]\nworkers = 1\n{more}"));
    setup.channel(
        "probe",
        &format!(
            "source = {{ kind = \"probe\", bits_per_second = \"{rate}\" }}\ntrain_ms = 50\nfast_start_seconds = 0"
        ),
    );
    setup.start()
}

#[test]
fn every_packet_comes_whole_in_order_and_in_time() {
    let server = server("2 Mb/s", "allow_load_test = true");
    let mut viewer = Viewer::join(&server, "probe");
    viewer.play_until("two seconds of packets", |arrived| {
        due_after(arrived, Duration::from_secs(2)).count() > 0
    });
    let probe = Probe::new(2_000_000, 1444).expect("in range");
    assert_eq!(viewer.probe, Some(probe));
    assert!(viewer.product.as_deref().is_some_and(allows_load_test));
    assert_consecutive(&viewer.arrived, &probe);
    // The first packets are of the past; from then on a packet waits for its train and for a busy machine.
    let mut delays: Vec<_> = due_after(&viewer.arrived, Duration::from_millis(500))
        .map(|arrival| arrival.delay)
        .collect();
    delays.sort();
    let median = delays[delays.len() / 2];
    assert!(
        median < Duration::from_millis(500),
        "half of all came after {median:?}"
    );
    server.stop();
}

#[test]
fn a_server_that_was_stopped_is_late_and_misses_nothing() {
    const STOP: Duration = Duration::from_secs(1);
    let server = server("20 Mb/s", "");
    let mut viewer = Viewer::join(&server, "probe");
    viewer.play_until("a start", |arrived| {
        due_after(arrived, Duration::from_millis(300)).count() > 0
    });
    assert_eq!(
        viewer.product, None,
        "load tests are not welcome by default"
    );
    let before = viewer.arrived.len();
    server.suspend();
    std::thread::sleep(STOP);
    server.resume();
    viewer.play_until("a packet in time again", |arrived| {
        arrived.len() > before
            && due_after(&arrived[before..], STOP + Duration::from_millis(200))
                .any(|arrival| arrival.delay < STOP / 2)
    });
    let probe = Probe::new(20_000_000, 1444).expect("in range");
    assert_consecutive(&viewer.arrived, &probe);
    let latest = viewer.arrived.iter().map(|arrival| arrival.delay).max();
    assert!(
        latest > Some(STOP.mul_f32(0.8)),
        "the stop shows as delay: {latest:?}"
    );
    server.stop();
}

/// What real players make of a probe channel, and of the word that load tests are welcome.
#[test]
fn players_open_a_probe_channel_and_pass_over_the_word() {
    let server = server("300 kb/s", "allow_load_test = true");
    let url = server.mmst("probe");
    let ran = player::run(
        30,
        &[
            "ffprobe",
            "-v",
            "error",
            "-show_entries",
            "stream=codec_type:format=format_name",
            "-of",
            "csv=p=0",
            &url,
        ],
    );
    ran.expect_success("ffprobe");
    assert_eq!(ran.stdout, "data\nasf\n", "{}", ran.report());
    assert_eq!(ran.stderr, "", "{}", ran.report());
    let mplayer = [
        "mplayer",
        "-nolirc",
        "-noconfig",
        "all",
        "-vo",
        "null",
        "-ao",
        "null",
        "-nocache",
        &url,
    ];
    let ran = player::run(30, &mplayer);
    assert!(
        ran.stderr.contains("no audio or video headers found")
            && ran.stdout.contains("Exiting... (End of file)"),
        "{}",
        ran.report()
    );
    server.stop();
}
