//! A player of another server and its sockets: over MMS one connection, and with `mmsu://` datagrams beside it; over HTTP as many
//! connections as the session asks for.
//!
//! Each connection has a task that makes it, reads and writes ([`attend`]); the session and everything that is decided are here.

use std::{
    cell::OnceCell,
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use funnel_session::{
    client::{self, Event, Transport, http},
    url::{Scheme, Url},
};
use rustls::ClientConfig;
use socket2::SockRef;
use tokio::{
    net::{TcpStream, UdpSocket, lookup_host},
    sync::mpsc,
    task::JoinSet,
    time::{sleep_until, timeout},
};

use crate::{
    Stream,
    attend::{Heard, attend},
    trust::{self, Trust, TrustError},
};

/// A player with its connections.
#[derive(Debug)]
pub(super) struct Link {
    player: Player,
    wires: Wires,
    datagrams: Option<Datagrams>,
    wake_at: Option<Instant>,
    fault: Option<ConnectError>,
}

#[derive(Debug)]
enum Player {
    /// The session comes with its connection.
    Mms(Arc<Url>, Option<Box<client::Session>>),
    Http(Box<http::Session>),
}

/// What comes from outside.
#[derive(Debug)]
pub(crate) enum News {
    Made(u32, Result<Ends, ConnectError>),
    Heard(u32, Heard),
    Datagram(Vec<u8>),
    Time,
}

/// The addresses of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    local: SocketAddr,
    peer: SocketAddr,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0} cannot be found: {1}")]
    Resolve(String, io::Error),
    #[error("{0} cannot be reached: {1}")]
    Connect(SocketAddr, io::Error),
    #[error("no TLS with {0}: {1}")]
    Handshake(SocketAddr, io::Error),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("no socket for media over UDP: {0}")]
    Datagrams(io::Error),
}

/// TLS as it is kept over all connections of a channel.
#[derive(Debug)]
pub(super) struct Tls {
    trust: Trust,
    config: OnceCell<Arc<ClientConfig>>,
}

impl Tls {
    pub(super) fn new(trust: Trust) -> Self {
        Self {
            trust,
            config: OnceCell::new(),
        }
    }

    fn config(&self) -> Result<&Arc<ClientConfig>, TrustError> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config = self.trust.config()?;
        Ok(self.config.get_or_init(|| config))
    }
}

impl Link {
    pub(super) fn new(url: Url, tls: Rc<Tls>) -> Self {
        let url = Arc::new(url);
        let mut link = Self {
            player: if url.scheme.is_http() {
                let options = http::Options {
                    manner: http::Manner::Relay,
                    answer_within: ANSWER,
                    ..http::Options::default()
                };
                let session = http::Session::new(Arc::clone(&url), options.into(), Instant::now());
                Player::Http(Box::new(session))
            } else {
                Player::Mms(Arc::clone(&url), None)
            },
            wires: Wires::new(tls),
            datagrams: None,
            wake_at: None,
            fault: None,
        };
        if matches!(link.player, Player::Mms(..)) {
            link.wires.connect(MMS, url);
        }
        link.drain(&mut |_| {});
        link
    }

    /// Waits for what comes next, at most until `time`. May be dropped and called again.
    pub(super) async fn news(&mut self, time: Option<Instant>) -> News {
        let wake_at = self.wake_at.into_iter().chain(time).min();
        let far_off = Instant::now() + Duration::from_secs(3600);
        tokio::select! {
            biased;
            Some((id, made)) = self.wires.making.recv() => News::Made(id, made),
            // Before TCP, which brings the end of a show.
            datagram = datagram(self.datagrams.as_mut()) => News::Datagram(datagram),
            Some((id, heard)) = self.wires.hearing.recv() => News::Heard(id, heard),
            () = sleep_until(wake_at.unwrap_or(far_off).into()) => News::Time,
        }
    }

    /// Takes news, says to the server what is to be said, and tells what happened.
    pub(super) fn take(&mut self, news: News, mut tell: impl FnMut(Event<'_>)) {
        match news {
            News::Made(id, Ok(ends)) => {
                if let Err(error) = self.begin_mms(ends) {
                    self.fault = Some(error);
                    self.tell_closed(id);
                }
            }
            News::Made(id, Err(error)) => {
                self.fault = Some(error);
                self.tell_closed(id);
            }
            News::Heard(id, Heard::Closed) => self.tell_closed(id),
            News::Heard(id, Heard::Bytes(bytes)) => match &mut self.player {
                Player::Mms(_, Some(session)) => {
                    session.handle_input(Instant::now(), client::Input::Received(&bytes));
                }
                Player::Mms(_, None) => {}
                Player::Http(session) => {
                    let input = http::Input::Received {
                        connection: id,
                        bytes: &bytes,
                    };
                    session.handle_input(Instant::now(), input);
                }
            },
            News::Datagram(bytes) => {
                if let Player::Mms(_, Some(session)) = &mut self.player {
                    session.handle_input(Instant::now(), client::Input::Datagram(&bytes));
                }
            }
            News::Time => match &mut self.player {
                Player::Mms(_, Some(session)) => {
                    session.handle_input(Instant::now(), client::Input::Timeout);
                }
                Player::Mms(_, None) => {}
                Player::Http(session) => {
                    session.handle_input(Instant::now(), http::Input::Timeout);
                }
            },
        }
        self.drain(&mut tell);
        if let (Some(_), Player::Mms(_, None)) = (&self.fault, &self.player) {
            tell(Event::Close(client::CloseReason::ConnectionLost));
        }
    }

    /// Why there is no connection.
    pub(super) fn fault(&self) -> Option<&ConnectError> {
        self.fault.as_ref()
    }

    /// Says good-bye and gives it a moment to arrive.
    pub(super) async fn leave(mut self) {
        let now = Instant::now();
        match &mut self.player {
            Player::Mms(_, Some(session)) => session.handle_input(now, client::Input::Close),
            Player::Mms(_, None) => {}
            Player::Http(session) => session.handle_input(now, http::Input::Close),
        }
        self.drain(&mut |_| {});
        self.wires.orders.clear();
        self.wires.hearing.close();
        let _ = timeout(FAREWELL, async {
            while self.wires.tasks.join_next().await.is_some() {}
        })
        .await;
    }

    /// An MMS session begins with its connection, and if it wants to with a socket beside it.
    fn begin_mms(&mut self, ends: Ends) -> Result<(), ConnectError> {
        let Player::Mms(url, session) = &mut self.player else {
            return Ok(());
        };
        if url.scheme == Scheme::Mmsu {
            let datagrams = Datagrams::beside(ends).map_err(ConnectError::Datagrams)?;
            self.datagrams = Some(datagrams);
        }
        let transport = match &self.datagrams {
            Some(datagrams) => Transport::Udp {
                port: datagrams.port,
            },
            None => Transport::Tcp,
        };
        let options = client::Options {
            transport,
            local_address: ends.local.ip().to_string(),
            answer_within: ANSWER,
            ..client::Options::default()
        };
        let new = client::Session::new(Arc::clone(url), options.into(), Instant::now());
        *session = Some(Box::new(new));
        Ok(())
    }

    fn tell_closed(&mut self, connection: u32) {
        self.wires.orders.remove(&connection);
        match &mut self.player {
            Player::Mms(_, Some(session)) => {
                session.handle_input(Instant::now(), client::Input::Closed);
            }
            Player::Mms(_, None) => {}
            Player::Http(session) => {
                session.handle_input(Instant::now(), http::Input::Closed { connection });
            }
        }
    }

    fn drain(&mut self, tell: &mut impl FnMut(Event<'_>)) {
        self.wake_at = match &mut self.player {
            Player::Mms(_, None) => None,
            Player::Mms(_, Some(session)) => loop {
                match session.poll_output() {
                    client::Output::Send(bytes) => self.wires.say(MMS, bytes),
                    client::Output::Datagram(bytes) => {
                        if let Some(datagrams) = &self.datagrams {
                            // One that is lost is asked for again.
                            let _ = datagrams.socket.try_send_to(bytes, datagrams.server);
                        }
                    }
                    client::Output::Event(event) => tell(event),
                    client::Output::Idle { wake_at } => break wake_at,
                }
            },
            Player::Http(session) => loop {
                match session.poll_output() {
                    http::Output::Connect { connection, url } => {
                        self.wires.connect(connection, Arc::new(url.clone()));
                    }
                    http::Output::Send { connection, bytes } => self.wires.say(connection, bytes),
                    http::Output::Disconnect { connection } => {
                        self.wires.orders.remove(&connection);
                    }
                    http::Output::Event(event) => tell(event),
                    http::Output::Idle { wake_at } => break wake_at,
                }
            },
        };
    }
}

/// The connections, by number.
#[derive(Debug)]
struct Wires {
    tls: Rc<Tls>,
    /// Dropping one's orders ends it.
    orders: HashMap<u32, mpsc::UnboundedSender<Vec<u8>>>,
    tasks: JoinSet<()>,
    made: mpsc::UnboundedSender<(u32, Result<Ends, ConnectError>)>,
    making: mpsc::UnboundedReceiver<(u32, Result<Ends, ConnectError>)>,
    heard: mpsc::Sender<(u32, Heard)>,
    hearing: mpsc::Receiver<(u32, Heard)>,
}

impl Wires {
    fn new(tls: Rc<Tls>) -> Self {
        let (made, making) = mpsc::unbounded_channel();
        let (heard, hearing) = mpsc::channel(HEARD_MAX);
        Self {
            tls,
            orders: HashMap::new(),
            tasks: JoinSet::new(),
            made,
            making,
            heard,
            hearing,
        }
    }

    fn connect(&mut self, connection: u32, url: Arc<Url>) {
        let (orders, taking) = mpsc::unbounded_channel();
        self.orders.insert(connection, orders);
        let (tls, made, heard) = (Rc::clone(&self.tls), self.made.clone(), self.heard.clone());
        self.tasks.spawn_local(async move {
            // Whoever has gone meanwhile hears nothing.
            match open(&url, &tls).await {
                Ok(stream) => {
                    let (local, peer) = (stream.local(), stream.peer());
                    let _ = made.send((connection, Ok(Ends { local, peer })));
                    attend(connection, stream, heard, taking).await;
                }
                Err(error) => drop(made.send((connection, Err(error)))),
            }
        });
    }

    fn say(&self, connection: u32, bytes: &[u8]) {
        if let Some(orders) = self.orders.get(&connection) {
            // One whose task has ended says so itself.
            let _ = orders.send(bytes.to_vec());
        }
    }
}

/// Connects to the first address of the host that answers, IPv4 or IPv6.
async fn open(url: &Url, tls: &Tls) -> Result<Stream, ConnectError> {
    let unknown = |error| ConnectError::Resolve(url.host.clone(), error);
    let addresses = lookup_host((url.host.as_str(), url.port)).await;
    let mut last = unknown(io::ErrorKind::NotFound.into());
    for address in addresses.map_err(unknown)? {
        let failed = |error| ConnectError::Connect(address, error);
        let socket = match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => {
                last = failed(error);
                continue;
            }
            Err(_) => {
                last = failed(io::ErrorKind::TimedOut.into());
                continue;
            }
        };
        // A wish: without it requests may leave later.
        let _ = socket.set_nodelay(true);
        let session = match url.scheme.is_tls() {
            true => Some(trust::session(tls.config()?, &url.host)?.into()),
            false => None,
        };
        let mut stream = Stream::new(socket, session).map_err(failed)?;
        let agreed = timeout(CONNECT, stream.handshake()).await;
        let agreed = agreed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        agreed.map_err(|error| ConnectError::Handshake(address, error))?;
        return Ok(stream);
    }
    Err(last)
}

/// The way of media over UDP.
#[derive(Debug)]
struct Datagrams {
    socket: UdpSocket,
    /// Of `socket`.
    port: u16,
    /// Where requests go, and the only address that counts.
    server: SocketAddr,
    buffer: Vec<u8>,
}

impl Datagrams {
    fn beside(Ends { local, peer }: Ends) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(SocketAddr::new(local.ip(), 0))?;
        socket.set_nonblocking(true)?;
        // A wish: key frames come in bursts.
        let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        Ok(Self {
            port: socket.local_addr()?.port(),
            socket: UdpSocket::from_std(socket)?,
            server: peer,
            buffer: vec![0; 64 << 10],
        })
    }

    fn comes_from_server(&self, address: IpAddr) -> bool {
        address == self.server.ip()
    }
}

/// The next datagram from the server's address; from elsewhere nothing counts.
async fn datagram(datagrams: Option<&mut Datagrams>) -> Vec<u8> {
    let Some(datagrams) = datagrams else {
        return std::future::pending().await;
    };
    loop {
        // Errors are ICMP's answers to requests; the connection tells whether the server is there.
        if let Ok((size, from)) = datagrams.socket.recv_from(&mut datagrams.buffer).await
            && datagrams.comes_from_server(from.ip())
        {
            return datagrams.buffer[..size].to_vec();
        }
    }
}

/// The one connection of MMS.
const MMS: u32 = 0;
/// Pieces that wait to be taken; then the server feels it.
const HEARD_MAX: usize = 8;
/// How long one address may take to answer, and then to agree on keys.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take, connecting included.
const ANSWER: Duration = Duration::from_secs(15);
const FAREWELL: Duration = Duration::from_millis(500);
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
