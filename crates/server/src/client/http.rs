//! The sans-I/O session over HTTP on as many TCP sockets as it asks for.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_ingest::trust::Trust;
use funnel_session::client::http::{Input, Options, Output, Session};
use funnel_session::client::{self, Event};
use funnel_session::url::Url;
use nix::poll::{PollFd, PollFlags, poll};
use rustls::ClientConfig;

use super::line::{Line, is_pause, rounded_up};
use super::{ConnectError, READ_BYTES};

/// A player of one channel.
#[derive(Debug)]
pub struct HttpConnection {
    session: Session,
    lines: Vec<(u32, Line)>,
    /// Connections that could not be made or used; the session has still to hear of them.
    lost: Vec<u32>,
    trouble: Option<ConnectError>,
    trust: Trust,
    /// Made for the first encrypted connection.
    tls: Option<Arc<ClientConfig>>,
    within: Duration,
    buffer: Box<[u8]>,
    /// There was more to read than a turn reads.
    is_behind: bool,
    is_open: bool,
}

impl HttpConnection {
    pub fn open(url: &Url, options: &client::Options, trust: &Trust) -> Result<Self, ConnectError> {
        let within = options.answer_within;
        let options = Options {
            streams: options.streams,
            auto_play: options.auto_play,
            answer_within: within,
            silence: options.silence,
            header_bytes_max: options.header_bytes_max,
            burst_ms: 0, // as much as the server likes to give
            ..Options::default()
        };
        let mut connection = Self {
            session: Session::new(Arc::new(url.clone()), Arc::new(options), Instant::now()),
            lines: Vec::new(),
            lost: Vec::new(),
            trouble: None,
            trust: trust.clone(),
            tls: None,
            within,
            buffer: vec![0; READ_BYTES].into(),
            is_behind: false,
            is_open: true,
        };
        connection.drain(&mut |_| {}); // connects and asks; nothing is told before an answer
        match connection.trouble.take() {
            Some(trouble) => Err(trouble),
            None => Ok(connection),
        }
    }

    pub fn is_open(&self) -> bool {
        self.is_open
    }

    pub fn trouble(&self) -> Option<&ConnectError> {
        self.trouble.as_ref()
    }

    pub fn leave(&mut self) {
        self.session.handle_input(Instant::now(), Input::Close);
    }

    pub fn turn(&mut self, patience: Duration, mut tell: impl FnMut(Event<'_>)) {
        let Some(wake_at) = self.drain(&mut tell) else {
            return;
        };
        let wait = match wake_at {
            _ if self.is_behind => Duration::ZERO,
            Some(at) => patience.min(at.saturating_duration_since(Instant::now())),
            None => patience,
        };
        self.wait(wait);
        self.is_behind = false;
        let connections: Vec<u32> = self
            .lines
            .iter()
            .map(|(connection, _)| *connection)
            .collect();
        for connection in connections {
            self.read(connection, &mut tell);
        }
        self.session.handle_input(Instant::now(), Input::Timeout);
        self.drain(&mut tell);
    }

    /// Waits until something has come, at most this long.
    fn wait(&self, time: Duration) {
        let lines = self.lines.iter();
        let mut files: Vec<PollFd<'_>> = lines
            .map(|(_, line)| PollFd::new(line.as_fd(), PollFlags::POLLIN))
            .collect();
        let _ = poll(&mut files, rounded_up(time)); // a signal: nothing has come
    }

    /// Takes what has come on a connection.
    fn read(&mut self, connection: u32, tell: &mut impl FnMut(Event<'_>)) {
        for _ in 0..READS_PER_TURN {
            let line = self
                .lines
                .iter_mut()
                .find(|(known, _)| *known == connection);
            let Some((_, line)) = line else {
                return; // closed by the session meanwhile
            };
            match line.receive(&mut self.buffer) {
                Ok(0) => self.lost.push(connection),
                Ok(size) => {
                    let bytes = &self.buffer[..size];
                    let input = Input::Received { connection, bytes };
                    self.session.handle_input(Instant::now(), input);
                }
                Err(error) if is_pause(&error) => return,
                Err(_) => self.lost.push(connection),
            }
            if self.drain(tell).is_none() {
                return;
            }
        }
        self.is_behind = true;
    }

    /// Until the session is idle; its deadline, or `None` when it is over.
    fn drain(&mut self, tell: &mut impl FnMut(Event<'_>)) -> Option<Option<Instant>> {
        while self.is_open {
            match self.session.poll_output() {
                Output::Connect { connection, url } => {
                    let line = open_line(url, &self.trust, &mut self.tls, self.within);
                    match line {
                        Ok(line) => self.lines.push((connection, line)),
                        Err(trouble) => {
                            self.trouble = Some(trouble);
                            self.lost.push(connection);
                        }
                    }
                }
                Output::Send { connection, bytes } => {
                    let line = self
                        .lines
                        .iter_mut()
                        .find(|(known, _)| *known == connection);
                    if let Some((_, line)) = line
                        && line.send(bytes).is_err()
                    {
                        self.lost.push(connection);
                    }
                }
                Output::Disconnect { connection } => {
                    self.lines.retain(|(known, _)| *known != connection);
                }
                Output::Event(event) => {
                    self.is_open = !matches!(event, Event::Close(_));
                    tell(event);
                }
                Output::Idle { wake_at } => {
                    let Some(connection) = self.lost.pop() else {
                        return Some(wake_at);
                    };
                    self.lines.retain(|(known, _)| *known != connection);
                    let input = Input::Closed { connection };
                    self.session.handle_input(Instant::now(), input);
                }
            }
        }
        None
    }
}

fn open_line(
    url: &Url,
    trust: &Trust,
    known: &mut Option<Arc<ClientConfig>>,
    within: Duration,
) -> Result<Line, ConnectError> {
    if !url.scheme.is_tls() {
        return Line::open(url, None, within);
    }
    let tls = match known {
        Some(tls) => tls,
        None => known.insert(trust.config()?),
    };
    Line::open(url, Some(tls), within)
}

/// Then the caller gets its turn.
const READS_PER_TURN: u32 = 64;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::path::Path;
    use std::thread;

    use funnel_session::client::CloseReason;
    use funnel_session::url::Scheme;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    use super::*;

    fn media() -> Vec<u8> {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../testdata/media/tiny-audio.asf"
        );
        std::fs::read(path).expect("test media")
    }

    /// Reads a request and answers with this.
    fn answer(stream: &mut (impl Read + Write), answer: &[u8]) {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a whole request");
            request.push(byte[0]);
        }
        stream.write_all(answer).expect("a player that listens");
    }

    fn listener() -> (TcpListener, Url) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        (
            listener,
            format!("http://{address}/x").parse().expect("a URL"),
        )
    }

    fn accept(listener: &TcpListener) -> TcpStream {
        listener.accept().expect("a player").0
    }

    /// Plays it; how many packets came, how it ended, and what went wrong.
    fn play(url: &Url, trust: &Trust) -> Result<(u32, CloseReason, Option<String>), ConnectError> {
        let options = client::Options {
            answer_within: Duration::from_secs(5),
            ..client::Options::default()
        };
        let mut connection = HttpConnection::open(url, &options, trust)?;
        let (mut packets, mut end) = (0, None);
        while connection.is_open() {
            connection.turn(Duration::from_secs(5), |event| match event {
                Event::Packet { .. } => packets += 1,
                Event::Close(reason) => end = Some(reason),
                _ => {}
            });
        }
        let trouble = connection.trouble().map(ToString::to_string);
        Ok((packets, end.expect("told before it is over"), trouble))
    }

    #[test]
    fn a_redirect_leads_to_another_port() {
        let (first, url) = listener();
        let (second, other) = listener();
        let server = thread::spawn(move || {
            let head = format!("HTTP/1.0 302 Found\r\nLocation: {other}\r\n\r\n");
            answer(&mut accept(&first), head.as_bytes());
            let head = b"HTTP/1.0 200 OK\r\n\r\n";
            answer(&mut accept(&second), &[&head[..], &media()].concat());
        });
        let (packets, end, _) = play(&url, &Trust::System).expect("somebody listens");
        assert!(packets > 10, "{packets}");
        assert_eq!(end, CloseReason::Finished);
        server.join().expect("asked twice");
    }

    #[test]
    fn who_cannot_be_reached_later_is_named() {
        let (listener, url) = listener();
        let nobody = {
            let (closed, url) = self::listener();
            drop(closed);
            url
        };
        let server = thread::spawn(move || {
            let head = format!("HTTP/1.0 302 Found\r\nLocation: {nobody}\r\n\r\n");
            answer(&mut accept(&listener), head.as_bytes());
            nobody
        });
        let (_, end, trouble) = play(&url, &Trust::System).expect("somebody listens");
        let nobody = server.join().expect("asked once");
        assert_eq!(end, CloseReason::ConnectionLost);
        let trouble = trouble.expect("said");
        assert!(
            trouble.starts_with(&format!("{} cannot be reached", nobody.authority())),
            "{trouble}"
        );
    }

    #[test]
    fn over_tls_the_certificate_counts() {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let rcgen::CertifiedKey { cert, signing_key } = certified.expect("a certificate");
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), cert.pem()).expect("written");
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key);
        let config = Arc::new(config.expect("they fit together"));

        let (listener, mut url) = listener();
        (url.scheme, url.host) = (Scheme::Https, "localhost".into());
        let server = thread::spawn(move || {
            let head = b"HTTP/1.0 200 OK\r\n\r\n";
            for _ in 0..2 {
                let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
                let mut stream = StreamOwned::new(session, accept(&listener));
                if stream.conn.complete_io(&mut stream.sock).is_ok() {
                    answer(&mut stream, &[&head[..], &media()].concat());
                }
            }
        });
        let stranger = play(&url, &Trust::System).expect_err("nobody knows it");
        assert!(
            matches!(
                stranger,
                ConnectError::Handshake { .. } | ConnectError::Trust(_)
            ),
            "{stranger}"
        );
        if let ConnectError::Trust(_) = stranger {
            drop(TcpStream::connect(("localhost", url.port)));
        }
        let trust = Trust::Authorities(file.path().to_owned());
        let (packets, end, _) = play(&url, &trust).expect("it is trusted");
        assert!(packets > 10, "{packets}");
        assert_eq!(end, CloseReason::Finished);
        server.join().expect("asked twice");
        let trust = Trust::Authorities(Path::new("/nowhere/ca.pem").to_owned());
        let nobody = play(&url, &trust).expect_err("there is no such file");
        assert!(
            nobody.to_string().starts_with("/nowhere/ca.pem: "),
            "{nobody}"
        );
    }
}
