//! The sans-I/O session over MMS on one TCP socket and, for `mmsu://`, one UDP socket.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_session::client::{Event, Input, Options, Output, Session, Transport, UdpStats};
use funnel_session::url::{Scheme, Url};
use nix::poll::{PollFd, PollFlags, poll};
use socket2::SockRef;

use super::line::{connect, is_pause, rounded_up};
use super::{ConnectError, READ_BYTES};

/// One connection to one channel.
#[derive(Debug)]
pub struct MmsConnection {
    stream: TcpStream,
    datagrams: Option<Datagrams>,
    session: Session,
    buffer: Box<[u8]>,
    is_open: bool,
}

impl MmsConnection {
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
        let timeout = rounded_up(time);
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

#[cfg(test)]
mod tests {
    use funnel_session::server;

    use super::super::tests::{server, server_session};
    use super::*;

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

    #[test]
    fn over_udp_the_header_comes_from_the_servers_address_alone() {
        static HEADER: [u8; 900] = [7; 900];
        let mut url = server(|mut stream| serve_over_udp(&mut stream, &HEADER));
        url.scheme = Scheme::Mmsu;
        let options = Options {
            auto_play: false,
            ..Options::default()
        };
        let mut connection = MmsConnection::open(&url, options).expect("somebody listens");
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
}
