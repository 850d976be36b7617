//! One ring, one loopback listener, and what the ring told, kept for the test to look at.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod network;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use funnel_uring::{
    Attempt, Batch, Completion, File, Ring, RingConfig,
    net::{ClientOptions, ListenOptions, client_socket, listener},
};
use socket2::{Domain, Socket, Type};

/// Token of the harness's listener.
pub const LISTENER: u64 = 99;

/// A step that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Told {
    Accepted(File, SocketAddr),
    AcceptFailed(i32),
    Connected(u64, File),
    ConnectFailed(u64, i32),
    Received(u64, Vec<u8>),
    Ended(u64, i32),
    Writable(u64),
    LocalAddress(u64, Option<SocketAddr>),
    /// The socket is in `Shard::handed_over`.
    HandedOver(u64),
    HandOverFailed(u64, i32),
    Sent(u64, i32),
    Datagram(u64, SocketAddr, Vec<u8>),
    Bell,
}

pub struct Shard {
    pub ring: Ring,
    pub address: SocketAddr,
    pub told: Vec<Told>,
    /// Connections that left the ring, in that order.
    pub handed_over: Vec<TcpStream>,
}

pub const SMALL: RingConfig = RingConfig {
    sends_per_turn: 64,
    files: 64,
    receive_buffers: 16,
    receive_buffer_bytes: 4_096,
    datagram_buffers: 16,
    datagram_bytes: 256,
    datagram_rest: Duration::from_millis(5),
};

impl Shard {
    pub fn new(config: RingConfig) -> Shard {
        Shard::listening(
            config,
            &ListenOptions::default(),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            16,
        )
    }

    pub fn listening(config: RingConfig, options: &ListenOptions, ip: IpAddr, depth: u16) -> Shard {
        let socket = listener(SocketAddr::new(ip, 0), options).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut ring = Ring::new(config).unwrap();
        ring.listen(socket, LISTENER, depth);
        Shard {
            ring,
            address,
            told: Vec::new(),
            handed_over: Vec::new(),
        }
    }

    /// A shard that only connects; its address is nobody's.
    pub fn without_listener(config: RingConfig) -> Shard {
        Shard {
            ring: Ring::new(config).unwrap(),
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            told: Vec::new(),
            handed_over: Vec::new(),
        }
    }

    /// Asks for a connection of ours.
    pub fn connect(&mut self, source: Option<IpAddr>, target: SocketAddr, token: u64) -> Attempt {
        let socket = client_socket(source, target, &ClientOptions::default()).unwrap();
        self.ring.ops().connect(socket, target, token)
    }

    /// Waits for the next connection of ours and takes it from what was told.
    pub fn connected(&mut self) -> File {
        let is_it = |told: &Told| matches!(told, Told::Connected(..));
        self.until("a connect", |shard| shard.told.iter().any(is_it));
        let at = self.told.iter().position(is_it).unwrap();
        let Told::Connected(_, file) = self.told.remove(at) else {
            unreachable!()
        };
        file
    }

    /// How many connects failed with `errno` so far.
    pub fn failed(&self, errno: i32) -> usize {
        let is_it = |told: &&Told| matches!(told, Told::ConnectFailed(_, e) if *e == errno);
        self.told.iter().filter(is_it).count()
    }

    /// A client with bounded patience; the kernel connects it before the ring accepts.
    pub fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// One turn and its drain; `wait` from now at most.
    pub fn turn(&mut self, wait: Duration) {
        self.send(wait, |_| {});
    }

    /// One turn with sends.
    pub fn send<'d>(&mut self, wait: Duration, fill: impl FnOnce(&mut Batch<'_, 'd>)) {
        let now = Instant::now();
        self.ring.turn(Some(now + wait), now, fill);
        let (told, handed_over) = (&mut self.told, &mut self.handed_over);
        self.ring.drain(|completion, _| {
            if let Completion::HandedOver {
                token,
                socket: Ok(socket),
            } = completion
            {
                told.push(Told::HandedOver(token));
                handed_over.push(socket.into());
            } else {
                told.push(own(completion));
            }
        });
    }

    /// Turns until `done` holds for what was told so far.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Shard) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(
                Instant::now() < give_up,
                "waited in vain for {what}; told: {:?}",
                self.told
            );
            self.turn(Duration::from_millis(20));
        }
    }

    /// Connects a client and accepts it.
    pub fn pair(&mut self) -> (TcpStream, File) {
        let client = self.client();
        (client, self.accepted())
    }

    /// Waits for the next connection and takes it from what was told.
    pub fn accepted(&mut self) -> File {
        self.until("a connection", |shard| {
            shard
                .told
                .iter()
                .any(|told| matches!(told, Told::Accepted(..)))
        });
        let at = self
            .told
            .iter()
            .position(|told| matches!(told, Told::Accepted(..)))
            .unwrap();
        let Told::Accepted(file, _) = self.told.remove(at) else {
            unreachable!()
        };
        file
    }

    /// Sends one piece in a turn of its own and returns the result.
    pub fn send_one(&mut self, file: File, bytes: &[u8]) -> i32 {
        const TOKEN: u64 = 0xDEAD;
        self.send(Duration::ZERO, |batch| batch.send(file, TOKEN, [bytes]));
        let at = self
            .told
            .iter()
            .position(|told| matches!(told, Told::Sent(TOKEN, _)))
            .expect("sends end in their turn");
        let Told::Sent(_, result) = self.told.remove(at) else {
            unreachable!()
        };
        result
    }

    /// Everything received under a token so far.
    pub fn received(&self, token: u64) -> Vec<u8> {
        let of_token = |told: &Told| {
            if let Told::Received(t, bytes) = told {
                (*t == token).then(|| bytes.clone())
            } else {
                None
            }
        };
        self.told.iter().filter_map(of_token).flatten().collect()
    }
}

pub fn own(completion: Completion<'_>) -> Told {
    match completion {
        Completion::Accepted {
            listener,
            file,
            peer,
        } => {
            assert_eq!(listener, LISTENER);
            Told::Accepted(file, peer)
        }
        Completion::AcceptFailed { errno, .. } => Told::AcceptFailed(errno),
        Completion::Connected { token, file } => Told::Connected(token, file),
        Completion::ConnectFailed { token, errno } => Told::ConnectFailed(token, errno),
        Completion::Received { token, bytes } => Told::Received(token, bytes.to_vec()),
        Completion::ReceiveEnded { token, result } => Told::Ended(token, result),
        Completion::Writable { token } => Told::Writable(token),
        Completion::Datagram { token, from, bytes } => Told::Datagram(token, from, bytes.to_vec()),
        Completion::LocalAddress { token, address } => Told::LocalAddress(token, address),
        Completion::HandedOver { token, socket } => match socket {
            Ok(_) => Told::HandedOver(token),
            Err(error) => Told::HandOverFailed(token, error.raw_os_error().unwrap()),
        },
        Completion::Sent { token, result } => Told::Sent(token, result),
        Completion::DoorbellRang => Told::Bell,
    }
}

/// An address that refuses connections as long as the socket lives: bound, but nobody listens.
pub fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// An address where the first one or two are connected and all others wait in SYN_SENT: the backlog is full and nobody accepts.
pub fn silent() -> (Socket, SocketAddr) {
    let (socket, address) = refusing();
    socket.listen(0).unwrap();
    (socket, address)
}

/// Bytes that tell where they belong.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|i| (i.wrapping_mul(31) >> 3) as u8)
        .collect()
}
