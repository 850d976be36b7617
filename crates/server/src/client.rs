//! Our own player's connection: the sans-I/O client session on one TCP socket and, for `mmsu://`, one UDP socket.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_session::HResult;
use funnel_session::client::{
    CloseReason, Event, Input, Options, Output, Session, Stage, Transport, UdpStats,
};
use funnel_session::url::{Scheme, Url};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockRef;

/// One connection to one channel. Call [`turn`](Self::turn) until it is no longer open.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    datagrams: Option<Datagrams>,
    session: Session,
    buffer: Box<[u8]>,
    is_open: bool,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `mmsu://` needs a UDP socket beside the connection.
    #[error("no socket for media over UDP: {0}")]
    Datagrams(io::Error),
    /// No such name.
    #[error("{host} cannot be found: {source}")]
    Resolve {
        /// As in the URL.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nobody there.
    #[error("{authority} cannot be reached at {address}: {source}")]
    Connect {
        /// Host and port as in the URL.
        authority: String,
        /// The last address tried.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl Connection {
    /// Connects to the first address of the host that answers, IPv4 or IPv6. `answer_within` of `options` bounds each attempt.
    /// With `mmsu://` the media comes over UDP, else by this connection.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(url: &Url, options: Options) -> Result<Self, ConnectError> {
        let stream = connect(url, options.answer_within)?;
        let datagrams = (url.scheme == Scheme::Mmsu)
            .then(|| Datagrams::beside(&stream))
            .transpose()
            .map_err(ConnectError::Datagrams)?;
        let options = Options {
            transport: datagrams
                .as_ref()
                .map_or(Transport::Tcp, |datagrams| Transport::Udp {
                    port: datagrams.port,
                }),
            local_address: stream
                .local_addr()
                .map_or(options.local_address, |address| address.ip().to_string()),
            ..options
        };
        Ok(Self {
            stream,
            datagrams,
            session: Session::new(Arc::new(url.clone()), Arc::new(options), Instant::now()),
            buffer: vec![0; READ_BYTES].into(),
            is_open: true,
        })
    }

    /// False once [`Event::Close`] was told.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// What became of the packets, if they come over UDP.
    pub fn udp_stats(&self) -> Option<UdpStats> {
        self.datagrams.as_ref().map(|_| self.session.udp_stats())
    }

    /// Says good-bye; the turns that follow tell [`Event::Close`].
    pub fn leave(&mut self) {
        self.session.handle_input(Instant::now(), Input::Close);
    }

    /// Sends and tells all there is to send and tell, then waits for the server, at most for `patience`.
    pub fn turn(&mut self, patience: Duration, mut tell: impl FnMut(Event<'_>)) {
        let Some(wake_at) = self.drain(&mut tell) else {
            return;
        };
        let wait = wake_at.map_or(patience, |at| {
            patience.min(at.saturating_duration_since(Instant::now()))
        });
        let [has_bytes, has_datagrams] = self.wait(wait);
        if has_datagrams {
            self.take_datagrams(&mut tell); // first: the end of a show comes by TCP
        }
        if has_bytes {
            let result = self.stream.read(&mut self.buffer);
            let input = match &result {
                Ok(0) => Input::Closed,
                Ok(count) => Input::Received(&self.buffer[..*count]),
                Err(error) if is_pause(error) => Input::Timeout,
                Err(_) => Input::Closed,
            };
            self.session.handle_input(Instant::now(), input);
        } else {
            self.session.handle_input(Instant::now(), Input::Timeout);
        }
        self.drain(&mut tell);
    }

    /// Waits until one of the sockets has something, at most this long; which.
    fn wait(&self, time: Duration) -> [bool; 2] {
        // Rounded up: waking too early would be waking for nothing.
        let ms = i32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        let timeout = PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX);
        let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let has_news = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        let stream = watch(self.stream.as_fd());
        match &self.datagrams {
            None => {
                let mut files = [stream];
                let _ = poll(&mut files, timeout); // a signal: nothing has come
                [has_news(&files[0]), false]
            }
            Some(datagrams) => {
                let mut files = [stream, watch(datagrams.socket.as_fd())];
                let _ = poll(&mut files, timeout);
                [has_news(&files[0]), has_news(&files[1])]
            }
        }
    }

    /// What has come by UDP from the server's address; from elsewhere nothing counts.
    fn take_datagrams(&mut self, tell: &mut impl FnMut(Event<'_>)) {
        for _ in 0..DATAGRAMS_PER_TURN {
            let Some(datagrams) = &self.datagrams else {
                return;
            };
            let Ok((size, from)) = datagrams.socket.recv_from(&mut self.buffer) else {
                return; // no more
            };
            if from.ip() == datagrams.server.ip() {
                let datagram = Input::Datagram(&self.buffer[..size]);
                self.session.handle_input(Instant::now(), datagram);
                self.drain(tell);
            }
        }
    }

    /// Until the session is idle; its deadline, or `None` when the connection is over.
    fn drain(&mut self, tell: &mut impl FnMut(Event<'_>)) -> Option<Option<Instant>> {
        let mut is_lost = false;
        while self.is_open {
            match self.session.poll_output() {
                Output::Send(bytes) => is_lost = is_lost || self.stream.write_all(bytes).is_err(),
                Output::Datagram(bytes) => {
                    if let Some(datagrams) = &self.datagrams {
                        // One that is lost is asked for again.
                        let _ = datagrams.socket.send_to(bytes, datagrams.server);
                    }
                }
                Output::Event(event) => {
                    self.is_open = !matches!(event, Event::Close(_));
                    tell(event);
                }
                Output::Idle { .. } if is_lost => {
                    is_lost = false;
                    self.session.handle_input(Instant::now(), Input::Closed);
                }
                Output::Idle { wake_at } => return Some(wake_at),
            }
        }
        None
    }
}

/// Room for a few packets, or for the largest datagram.
const READ_BYTES: usize = 64 << 10;

/// Then the connection gets its turn.
const DATAGRAMS_PER_TURN: u32 = 256;

/// The way of media over UDP.
#[derive(Debug)]
struct Datagrams {
    socket: UdpSocket,
    /// Of `socket`.
    port: u16,
    /// Where requests go, and the only address that counts.
    server: SocketAddr,
}

impl Datagrams {
    fn beside(stream: &TcpStream) -> io::Result<Self> {
        let mut local = stream.local_addr()?;
        local.set_port(0);
        let socket = UdpSocket::bind(local)?;
        socket.set_nonblocking(true)?;
        // A wish: key frames come in bursts.
        let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        Ok(Self {
            port: socket.local_addr()?.port(),
            socket,
            server: stream.peer_addr()?,
        })
    }
}

const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

fn connect(url: &Url, within: Duration) -> Result<TcpStream, ConnectError> {
    let unknown = |source| ConnectError::Resolve {
        host: url.host.clone(),
        source,
    };
    let addresses = (url.host.as_str(), url.port)
        .to_socket_addrs()
        .map_err(unknown)?;
    let mut last = unknown(io::Error::from(io::ErrorKind::NotFound));
    for address in addresses {
        match TcpStream::connect_timeout(&address, within) {
            Ok(stream) => {
                // Wishes only: without them it is slower or waits longer.
                let _ = stream.set_nodelay(true);
                let _ = stream.set_write_timeout(Some(within));
                return Ok(stream);
            }
            Err(source) => {
                last = ConnectError::Connect {
                    authority: url.authority(),
                    address,
                    source,
                }
            }
        }
    }
    Err(last)
}

/// Why a session brought nothing, or no more, in one sentence.
pub fn explain(url: &Url, refused_at: Option<Stage>, reason: &CloseReason) -> String {
    match reason {
        CloseReason::Finished => format!("{url}: the server ended the session"),
        CloseReason::Refused(hr) => {
            let stage = refused_at.map_or_else(String::new, |stage| format!(" at {stage:?}"));
            format!("{url} was refused{stage}: {hr}{}", meaning(*hr))
        }
        CloseReason::Redirected => format!("{url}: the channel is at another address"),
        CloseReason::ConnectionLost => {
            format!("{url}: the server closed the connection without a word")
        }
        CloseReason::TimedOut => format!("{url}: the server did not answer in time"),
        CloseReason::NoDatagrams => format!(
            "{url}: nothing comes over UDP, perhaps because of a firewall or address translation on the way; mmst://{}/{} asks for TCP",
            url.authority(),
            url.path
        ),
        CloseReason::Framing(error) => format!("{url}: the server does not speak MMS: {error}"),
        CloseReason::Damaged(what) => format!("{url}: the server sent a damaged {what}"),
        _ => format!("{url}: {reason:?}"),
    }
}

/// What the codes a viewer meets mean, in words.
fn meaning(hr: HResult) -> &'static str {
    match hr {
        HResult::NS_E_FILE_NOT_FOUND
        | HResult::ERROR_FILE_NOT_FOUND
        | HResult::ERROR_PATH_NOT_FOUND => " (there is no channel of this name)",
        HResult::NS_E_PUBLISHING_POINT_STOPPED => " (the channel has no source at the moment)",
        HResult::NS_E_TOO_MANY_SESS | HResult::NS_E_MAX_CLIENTS => " (the server is full)",
        HResult::NS_E_INSUFFICIENT_BANDWIDTH => " (the server's bandwidth is used up)",
        HResult::NS_E_NO_NEW_CONNECTIONS | HResult::NS_E_SHUTDOWN => {
            " (the server is shutting down)"
        }
        HResult::NS_E_UDP_DISABLED => " (the server sends no media over UDP; mmst:// asks for TCP)",
        HResult::E_ACCESSDENIED | HResult::NS_E_SERVER_ACCESSDENIED => " (not allowed)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use funnel_session::server;

    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    fn end_of(url: &Url) -> CloseReason {
        let options = Options {
            answer_within: Duration::from_millis(300),
            ..Options::default()
        };
        let mut connection = Connection::open(url, options).expect("somebody listens");
        let mut end = None;
        while connection.is_open() {
            connection.turn(Duration::from_secs(5), |event| {
                if let Event::Close(reason) = event {
                    end = Some(reason);
                }
            });
        }
        end.expect("told before it is over")
    }

    fn server(answer: impl FnOnce(TcpStream) + Send + 'static) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        thread::spawn(move || answer(listener.accept().expect("a client").0));
        url(&format!("mms://127.0.0.1:{port}/x"))
    }

    #[test]
    fn a_server_that_hangs_up_and_one_that_is_silent_are_told_apart() {
        assert_eq!(end_of(&server(drop)), CloseReason::ConnectionLost);
        let (silent, listener) = {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            (
                url(&format!(
                    "mms://{}/x",
                    listener.local_addr().expect("bound")
                )),
                listener,
            )
        };
        assert_eq!(end_of(&silent), CloseReason::TimedOut);
        drop(listener);
    }

    #[test]
    fn no_connection_is_one_sentence() {
        let free = TcpListener::bind("127.0.0.1:0")
            .expect("a free port")
            .local_addr()
            .expect("bound");
        let url = url(&format!("mms://{free}/x"));
        let error = Connection::open(&url, Options::default())
            .expect_err("nobody listens")
            .to_string();
        assert!(
            error.starts_with(&format!("{free} cannot be reached at {free}: ")),
            "{error}"
        );
    }

    /// A server whose header comes over UDP, while somebody else sends another one to the same port.
    fn serve_over_udp(stream: &mut TcpStream, header: &'static [u8]) {
        let (mut session, mut port) = (server_session(), 0);
        let ours = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let theirs = UdpSocket::bind("127.0.0.2:0").expect("a free port");
        stream
            .set_read_timeout(Some(Duration::from_millis(5)))
            .expect("set");
        let mut buffer = [0; 4096];
        loop {
            let input = match stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => server::Input::Received(&buffer[..count]),
                Err(_) => server::Input::Timeout,
            };
            let mut is_opening = false;
            session
                .handle_input(Instant::now(), input)
                .expect("a sound player");
            loop {
                match session.poll_output() {
                    server::Output::Send(bytes) => stream.write_all(bytes).expect("sent"),
                    server::Output::Datagram(bytes) => {
                        let forged = [&[0, 0, 0, 0, 1, 0x0C, 12, 0][..], b"fake"].concat();
                        theirs.send_to(&forged, ("127.0.0.1", port)).expect("sent");
                        ours.send_to(bytes, ("127.0.0.1", port)).expect("sent");
                    }
                    server::Output::Event(server::Event::Transport(Transport::Udp {
                        port: to,
                    })) => port = to,
                    server::Output::Event(server::Event::Open(_)) => is_opening = true,
                    server::Output::Event(server::Event::Close(_)) => return,
                    server::Output::Event(_) => {}
                    server::Output::Idle { .. } if is_opening => {
                        is_opening = false;
                        let opened = server::Opened {
                            header: header.into(),
                            packet_bytes: 100,
                            bit_rate: 1_000_000,
                            streams: 0,
                        };
                        session
                            .handle_input(Instant::now(), server::Input::Opened(Ok(opened)))
                            .expect("it asked");
                    }
                    server::Output::Idle { .. } => break,
                }
            }
        }
    }

    fn server_session() -> server::Session {
        server::Session::new(Arc::new(server::Settings::default()), 1, Instant::now())
    }

    #[test]
    fn over_udp_the_header_comes_from_the_servers_address_alone() {
        static HEADER: [u8; 900] = [7; 900];
        let mut url = server(|mut stream| serve_over_udp(&mut stream, &HEADER));
        url.scheme = Scheme::Mmsu;
        let options = Options {
            auto_play: false,
            ..Options::default()
        };
        let mut connection = Connection::open(&url, options).expect("somebody listens");
        let mut header = Vec::new();
        while connection.is_open() {
            connection.turn(Duration::from_secs(5), |event| {
                if let Event::Header(bytes) = event {
                    header = bytes.to_vec();
                }
            });
            if !header.is_empty() {
                connection.leave();
            }
        }
        assert_eq!(header, HEADER);
        assert_eq!(connection.udp_stats(), Some(UdpStats::default()));
    }

    #[test]
    fn a_refusal_has_its_code_name_and_meaning() {
        let reason = CloseReason::Refused(HResult::NS_E_FILE_NOT_FOUND);
        assert_eq!(
            explain(&url("mms://h/x"), Some(Stage::OpenFile), &reason),
            "mms://h/x was refused at OpenFile: 0xC00D001A NS_E_FILE_NOT_FOUND (there is no channel of this name)"
        );
    }
}
