//! `funnel push`: a stand-in for an encoder. Sends a file in real time to funnel, or to any server that takes encoders.
//!
//! Like an encoder it lives by the clock: what was due while there was no connection is left out, not made up for.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_ingest::{Reel, ReelPacket, Stream, trust};
use funnel_session::push::sender::{Event, Input, Options, Output, Protocol, Sender};
use funnel_session::url::{Scheme, Url};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, sleep_until, timeout};

use crate::cli;
use crate::console::{complain, say};
use crate::failure::Failure;
use crate::signals::Interrupt;

/// Where to push to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    url: Url,
    /// `tcp://`: no HTTP.
    is_raw: bool,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const HOW: &str = "expected http://, https:// or tcp://HOST:PORT";
        let (scheme, rest) = text.split_once("://").ok_or(HOW)?;
        let is_raw = scheme.eq_ignore_ascii_case("tcp");
        let url: Result<Url, _> = match is_raw {
            true => format!("http://{rest}").parse(),
            false => text.parse(),
        };
        let url = url.map_err(|error| match text.contains("://") {
            true => error.to_string(),
            false => HOW.to_owned(),
        })?;
        let has_port = rest.split('/').next().is_some_and(|authority| {
            let port = authority.rsplit_once(':').map(|(_, port)| port);
            port.is_some_and(|port| !port.contains(']'))
        });
        match (is_raw, url.scheme) {
            (true, _) if !has_port => Err("tcp:// needs a port".to_owned()),
            (true, _) => Ok(Self { url, is_raw }),
            (_, Scheme::Http | Scheme::Https | Scheme::Mmsh) => Ok(Self { url, is_raw }),
            _ => Err(HOW.to_owned()),
        }
    }
}

/// Pushes until the file is over, a signal comes, or the server refuses.
///
/// # Errors
/// The file cannot be sent, the server does not want it, or is gone and `--loop` was not asked for.
pub fn run(arguments: &cli::Push) -> Result<(), Failure> {
    let protocol = protocol(arguments)?;
    let interrupt = Interrupt::listen().map_err(Failure::fault)?;
    let reel = Reel::open(&arguments.file, arguments.looped).map_err(Failure::fault)?;
    let tls = match arguments.url.url.scheme.is_tls() {
        true => Some(trust(arguments).config().map_err(Failure::fault)?),
        false => None,
    };
    let mut encoder = Encoder {
        options: Options {
            url: arguments.url.url.clone(),
            protocol,
            agent: concat!("funnel/", env!("CARGO_PKG_VERSION")).to_owned(),
            answer_within: ANSWER_WITHIN,
            body_bytes: Options::BODY_BYTES,
        },
        file: arguments.file.clone(),
        tls,
        clock: Clock::default(),
        next: None,
        is_over: false,
        trouble: None,
        reel,
        interrupt,
        sent: Sent::default(),
        progress: ProgressBar::new_spinner()
            .with_style(ProgressStyle::with_template("{spinner} {msg}").expect("a constant")),
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::fault)?
        .block_on(encoder.push(arguments.looped))
}

/// For each answer; for a write, too.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

fn protocol(arguments: &cli::Push) -> Result<Protocol, Failure> {
    let protocol = match (arguments.protocol, arguments.url.is_raw) {
        (None | Some(cli::PushProtocol::Tcp), true) => Protocol::Raw,
        (None | Some(cli::PushProtocol::Wmhttp), false) => Protocol::WindowsMedia,
        (Some(cli::PushProtocol::Post), false) => Protocol::Post,
        (Some(cli::PushProtocol::Put), false) => Protocol::Put,
        (Some(cli::PushProtocol::Chunks), false) => Protocol::Chunks,
        _ => {
            return Err(Failure::Usage(
                "--protocol tcp belongs to tcp://HOST:PORT, the others to http:// and https://"
                    .to_owned(),
            ));
        }
    };
    Ok(protocol)
}

fn trust(arguments: &cli::Push) -> trust::Trust {
    match (&arguments.ca, arguments.insecure) {
        (_, true) => trust::Trust::Anybody,
        (Some(path), false) => trust::Trust::Authorities(path.clone()),
        (None, false) => trust::Trust::System,
    }
}

struct Encoder {
    options: Options,
    file: PathBuf,
    tls: Option<Arc<ClientConfig>>,
    reel: Reel,
    clock: Clock,
    /// Read from the file, and not due yet.
    next: Option<ReelPacket>,
    /// The file has no more, or a signal came.
    is_over: bool,
    /// The file cannot be read to its end.
    trouble: Option<String>,
    interrupt: Interrupt,
    sent: Sent,
    progress: ProgressBar,
}

/// What went out so far.
#[derive(Debug, Default)]
struct Sent {
    packets: u64,
    bytes: u64,
    time: Duration,
}

/// How a connection, or several that belong together, ended.
enum End {
    Done,
    Refused(String),
    Lost(String),
}

impl Encoder {
    async fn push(&mut self, tries_again: bool) -> Result<(), Failure> {
        let mut backoff = BACKOFF_MIN;
        loop {
            let before = self.sent.packets;
            let trouble = match self.session().await {
                End::Done => {
                    self.progress.finish_and_clear();
                    say(&format!("{}\n", self.summary()));
                    return self
                        .trouble
                        .take()
                        .map_or(Ok(()), |trouble| Err(Failure::Fault(trouble)));
                }
                End::Refused(why) => {
                    self.progress.finish_and_clear();
                    return Err(Failure::Fault(why));
                }
                End::Lost(why) => why,
            };
            if !tries_again || self.interrupt.came() {
                self.progress.finish_and_clear();
                return Err(Failure::Fault(match self.sent.packets {
                    0 => trouble,
                    _ => format!("{trouble} ({})", self.summary()),
                }));
            }
            if self.sent.packets > before {
                backoff = BACKOFF_MIN;
            }
            self.progress
                .suspend(|| complain(&format!("{trouble}; trying again in {backoff:?}")));
            let until = Instant::now() + backoff;
            while Instant::now() < until && !self.interrupt.came() {
                sleep(LOOK_EVERY).await;
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// One push, from the connection to its end.
    async fn session(&mut self) -> End {
        let mut sender = Sender::new(self.options.clone(), self.reel.header(), Instant::now());
        let mut stream: Option<Stream> = None;
        let mut is_ready = false;
        let mut received = vec![0; 16 * 1024];
        loop {
            let wake_at = match sender.poll_output() {
                Output::Connect => {
                    let connected = timeout(ANSWER_WITHIN, self.connect()).await;
                    match connected.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                        Ok(connected) => stream = Some(connected),
                        Err(why) => return End::Lost(format!("{}: {why}", self.place())),
                    }
                    sender.handle_input(Instant::now(), Input::Connected);
                    continue;
                }
                Output::Send(bytes) => {
                    if let Some(open) = &mut stream
                        && !send(open, &bytes).await
                    {
                        // What the server said before it closed says more than the error.
                        self.hear_last_words(open, &mut sender).await;
                        sender.handle_input(Instant::now(), Input::Closed);
                    }
                    continue;
                }
                Output::Disconnect => {
                    if let Some(mut open) = stream.take() {
                        let _ = timeout(Duration::from_secs(1), part(&mut open)).await;
                    }
                    continue;
                }
                Output::Event(Event::Ready) => {
                    is_ready = true;
                    self.skip_what_is_late();
                    continue;
                }
                Output::Event(event) => return self.end_of(event),
                Output::Idle { wake_at } => wake_at,
            };
            let due = if is_ready { self.due() } else { None };
            if is_ready && due.is_none() && !self.is_over {
                self.is_over = true;
                sender.handle_input(Instant::now(), Input::End);
                continue;
            }
            let now = Instant::now();
            let wake = [wake_at, due, Some(now + LOOK_EVERY)];
            let wake = wake.into_iter().flatten().min().unwrap_or(now);
            tokio::select! {
                biased;
                count = hear(&mut stream, &mut received) => {
                    let input = match count {
                        0 => Input::Closed,
                        count => Input::Received(&received[..count]),
                    };
                    if count == 0 {
                        stream = None;
                    }
                    sender.handle_input(Instant::now(), input);
                }
                () = sleep_until(wake.into()) => {
                    let now = Instant::now();
                    if due.is_some_and(|due| due <= now) && let Some(packet) = self.next.take() {
                        self.sent.count(&packet);
                        sender.handle_input(now, Input::Packet(&packet.bytes));
                    }
                    sender.handle_input(now, Input::Timeout);
                    self.show_progress();
                }
            }
        }
    }

    /// When the next packet goes out; `None` behind the last one.
    fn due(&mut self) -> Option<Instant> {
        if self.is_over || self.interrupt.came() {
            self.next = None;
        } else if self.next.is_none() {
            match self.reel.next_packet() {
                Ok(packet) => self.next = packet,
                Err(error) => self.trouble = Some(format!("{}: {error}", self.file.display())),
            }
        }
        let packet = self.next.as_ref()?;
        Some(self.clock.due(packet.send_ms, Instant::now()))
    }

    /// After a time without a server: the show goes on as if it had been there.
    fn skip_what_is_late(&mut self) {
        let now = Instant::now();
        while self.sent.packets > 0 && self.due().is_some_and(|due| due < now) {
            self.next = None;
        }
    }

    async fn connect(&self) -> Result<Stream, String> {
        let url = &self.options.url;
        let address = (url.host.as_str(), url.port);
        let socket = TcpStream::connect(address)
            .await
            .map_err(|error| error.to_string())?;
        let _ = socket.set_nodelay(true); // a wish
        let session = self.tls.as_ref().map(|tls| trust::session(tls, &url.host));
        let session = session.transpose().map_err(|error| error.to_string())?;
        let mut stream = Stream::new(socket, session.map(rustls::Connection::Client))
            .map_err(|error| error.to_string())?;
        stream
            .handshake()
            .await
            .map_err(|error| format!("TLS: {error}"))?;
        Ok(stream)
    }

    async fn hear_last_words(&self, stream: &mut Stream, sender: &mut Sender) {
        let mut words = vec![0; 4096];
        let read = timeout(Duration::from_secs(1), stream.read(&mut words)).await;
        if let Ok(Ok(count)) = read {
            sender.handle_input(Instant::now(), Input::Received(&words[..count]));
        }
    }

    fn end_of(&self, event: Event) -> End {
        let place = self.place();
        match event {
            Event::Refused { status, reason } => {
                let why = format!("{place} refuses: {} {reason}", status.as_u16());
                // An encoder that is on, a server that starts, a time-out: all of it passes.
                match status.as_u16() {
                    408 | 409 | 425 | 429 | 500.. => End::Lost(why),
                    _ => End::Refused(why),
                }
            }
            Event::Lost(why) => End::Lost(format!("{place}: {why}")),
            Event::Ready | Event::Done => End::Done,
        }
    }

    /// The URL as it may be shown.
    fn place(&self) -> String {
        let url = &self.options.url;
        match self.options.protocol {
            Protocol::Raw => format!("tcp://{}:{}", url.host, url.port),
            _ => url.to_string(),
        }
    }

    fn summary(&self) -> String {
        let Sent {
            packets,
            bytes,
            time,
        } = self.sent;
        format!(
            "{}: {:.1} s, {}, {packets} packets pushed to {}",
            self.file.display(),
            time.as_secs_f64(),
            HumanBytes(bytes),
            self.place()
        )
    }

    fn show_progress(&self) {
        self.progress.set_message(self.summary());
        self.progress.tick();
    }
}

impl Sent {
    fn count(&mut self, packet: &ReelPacket) {
        self.packets += 1;
        self.bytes += packet.bytes.len() as u64;
        self.time = Duration::from_millis(packet.send_ms);
    }
}

/// Send times laid onto the wall clock.
#[derive(Debug, Default)]
struct Clock(Option<(Instant, u64)>);

impl Clock {
    /// The first packet is due now.
    fn due(&mut self, send_ms: u64, now: Instant) -> Instant {
        let (start, start_ms) = *self.0.get_or_insert((now, send_ms));
        start + Duration::from_millis(send_ms.saturating_sub(start_ms))
    }
}

/// False when nothing can be sent any more.
async fn send(stream: &mut Stream, bytes: &[u8]) -> bool {
    let all = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    matches!(timeout(ANSWER_WITHIN, all).await, Ok(Ok(())))
}

/// Count of bytes; 0 when nothing will come any more. Waits for ever without a connection.
async fn hear(stream: &mut Option<Stream>, bytes: &mut [u8]) -> usize {
    match stream {
        Some(stream) => stream.read(bytes).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// Ends our side and waits until the server has, so that the last bytes are not lost to a reset.
async fn part(stream: &mut Stream) {
    let mut rest = [0; 4096];
    if stream.shutdown().await.is_ok() {
        while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    }
}

const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A signal is noticed within this time, and progress shown as often.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
