//! The kernel's floor and what lies above it: one train each to 1,000 loopback connections, or UDP addresses.
//!
//! Three senders of the same bytes take turns, so that a noisy neighbour hits all of them alike: a bare loop of `sendmsg`
//! over ready-made pieces, the ring with the same pieces, and the ring with the engine that decides and frames. Time is CPU
//! time of this thread, which on loopback includes the receiver's half of TCP. Readers empty the sockets between rounds,
//! outside of the time. Trains of datagrams are one send of the ring each, cut by the kernel (UDP_SEGMENT), of several lengths.

use std::io::{IoSlice, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use funnel_benches::clock::{self, median};
use funnel_benches::house::{House, PACKET_BYTES, Plan, STEP};
use funnel_engine::Key;
use funnel_uring::net::{DatagramOptions, ListenOptions, datagram_socket, listener};
use funnel_uring::{Completion, File, Ring, RingConfig, Target};
use socket2::SockRef;

const HEAD_BYTES: usize = 8;
const TRAIN_PACKETS: usize = 5;
const TRAIN_BYTES: usize = TRAIN_PACKETS * (HEAD_BYTES + PACKET_BYTES);

fn main() {
    let (connections, rounds) = if clock::is_bench() {
        (1_000, 301)
    } else {
        (20, 2)
    };
    let mut bare = Bare::new(connections);
    let mut ring = RingOnly::new(connections);
    let mut whole = Whole::new(connections);
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        let round = [bare.round(), ring.round(connections), whole.round()];
        for (times, time) in times.iter_mut().zip(round) {
            times.push(time.as_nanos() as f64 / connections as f64 / 1000.0);
        }
    }
    println!(
        "a train of {TRAIN_PACKETS} packets ({TRAIN_BYTES} bytes) to each of {connections} connections, \
         thread CPU time, median of {rounds} interleaved rounds:"
    );
    let names = ["bare sendmsg loop", "ring", "ring and engine"];
    for (name, own) in names.iter().zip(&times) {
        // Ratios within a round cancel what slowed the whole round down.
        let ratios: Vec<f64> = own
            .iter()
            .zip(&times[0])
            .map(|(own, bare)| own / bare)
            .collect();
        println!(
            "  {name:<18} {:6.3} µs a send, {:5.3} × the bare loop, {:5.1} µs/s a viewer at 5 sends/s",
            median(own),
            median(&ratios),
            median(own) * 5.0
        );
    }
    tell_sends_per_turn(&mut ring, connections, rounds);
    tell_datagrams(connections, rounds.div_ceil(3));
}

/// Prints what it costs to enter the kernel more often than once.
fn tell_sends_per_turn(ring: &mut RingOnly, connections: usize, rounds: usize) {
    let sizes = [1, 4, 16, 64, 256, connections];
    let mut times = sizes.map(|_| Vec::new());
    for _ in 0..rounds {
        for (times, sends) in times.iter_mut().zip(sizes) {
            times.push(ring.round(sends).as_nanos() as f64 / connections as f64 / 1000.0);
        }
    }
    println!("the ring alone, by sends in a turn:");
    for (times, sends) in times.iter().zip(sizes) {
        println!("  {sends:>5} {:6.3} µs a send", median(times));
    }
}

/// Prints what trains of datagrams cost, by their length.
fn tell_datagrams(addresses: usize, rounds: usize) {
    let mut datagrams = Datagrams::new(addresses);
    let lengths = [1, 5, 16];
    let mut times = lengths.map(|_| Vec::new());
    for _ in 0..rounds {
        for (times, packets) in times.iter_mut().zip(lengths) {
            let time = datagrams.round(packets).as_nanos() as f64;
            times.push(time / addresses as f64 / 1000.0);
        }
    }
    println!(
        "one train of datagrams ({DATAGRAM_BYTES} bytes each) of the ring's to each of {addresses} addresses, by packets in a train:"
    );
    for (times, packets) in times.iter().zip(lengths) {
        let send = median(times);
        let packet = send / packets as f64;
        println!("  {packets:>5} {send:6.3} µs a send, {packet:6.3} µs a packet");
    }
}

/// The reading ends of some connections.
struct Readers {
    sockets: Vec<TcpStream>,
    buffer: Box<[u8]>,
}

impl Readers {
    fn new() -> Self {
        Self {
            sockets: Vec::new(),
            buffer: vec![0; TRAIN_BYTES].into(),
        }
    }

    fn connect(&mut self, address: SocketAddr) {
        let socket = TcpStream::connect(address).expect("loopback");
        let patience = Some(Duration::from_secs(10));
        socket.set_read_timeout(patience).expect("a timeout");
        self.sockets.push(socket);
    }

    /// Takes one train from each.
    fn empty(&mut self) {
        for socket in &mut self.sockets {
            let read = socket.read_exact(&mut self.buffer);
            read.expect("the whole train was sent");
        }
    }
}

/// Heads and bodies as a gather list.
fn pieces<'a>(head: &'a [u8], body: &'a [u8]) -> Vec<&'a [u8]> {
    (0..TRAIN_PACKETS).flat_map(|_| [head, body]).collect()
}

/// `sendmsg` in a loop: what no server on TCP sockets can do without.
struct Bare {
    senders: Vec<TcpStream>,
    readers: Readers,
}

impl Bare {
    fn new(connections: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let address = listener.local_addr().expect("bound");
        let mut readers = Readers::new();
        let senders = (0..connections).map(|_| {
            readers.connect(address);
            let (sender, _) = listener.accept().expect("a connection");
            sender.set_nodelay(true).expect("TCP");
            sender.set_nonblocking(true).expect("a socket");
            sender
        });
        Self {
            senders: senders.collect(),
            readers,
        }
    }

    fn round(&mut self) -> Duration {
        let (head, body) = ([0; HEAD_BYTES], [0xA5; PACKET_BYTES]);
        let pieces: Vec<_> = pieces(&head, &body).into_iter().map(IoSlice::new).collect();
        let (time, ()) = clock::timed(|| {
            for sender in &self.senders {
                let sent = SockRef::from(sender)
                    .send_vectored_with_flags(&pieces, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
                assert_eq!(sent.expect("room in the socket"), TRAIN_BYTES);
            }
        });
        self.readers.empty();
        time
    }
}

/// A ring and its accepted connections, as the shards configure them.
struct Shard {
    ring: Ring,
    files: Vec<File>,
    readers: Readers,
}

impl Shard {
    fn new(connections: usize) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let socket = listener(any, &ListenOptions::default()).expect("loopback");
        let address = socket.local_addr().expect("bound").as_socket();
        let mut ring = Ring::new(RingConfig {
            files: connections as u32 + 64,
            ..RingConfig::default()
        })
        .expect("this bench needs io_uring");
        ring.listen(socket, 0, 16);
        let (mut files, mut readers) = (Vec::new(), Readers::new());
        while files.len() < connections {
            if readers.sockets.len() < connections {
                readers.connect(address.expect("an internet address"));
            }
            let now = Instant::now();
            ring.turn(Some(now + Duration::from_millis(1)), now, |_| {});
            ring.drain(|completion, ops| {
                if let Completion::Accepted { file, .. } = completion {
                    ops.receive(file, files.len() as u64);
                    files.push(file);
                }
            });
        }
        Self {
            ring,
            files,
            readers,
        }
    }
}

/// The ring with ready-made pieces.
struct RingOnly(Shard);

impl RingOnly {
    fn new(connections: usize) -> Self {
        Self(Shard::new(connections))
    }

    /// A train to everybody, in turns of `sends_per_turn`.
    fn round(&mut self, sends_per_turn: usize) -> Duration {
        let Shard {
            ring,
            files,
            readers,
        } = &mut self.0;
        let (head, body) = ([0; HEAD_BYTES], [0xA5; PACKET_BYTES]);
        let pieces = pieces(&head, &body);
        let (time, sent) = clock::timed(|| {
            let mut sent = 0;
            for files in files.chunks(sends_per_turn) {
                let now = Instant::now();
                ring.turn(Some(now), now, |batch| {
                    for (token, &file) in (0..).zip(files) {
                        batch.send(file, token, pieces.iter().copied());
                    }
                });
                ring.drain(|completion, _| {
                    if let Completion::Sent { result, .. } = completion {
                        assert_eq!(result, TRAIN_BYTES as i32);
                        sent += 1;
                    }
                });
            }
            sent
        });
        assert_eq!(sent, files.len());
        readers.empty();
        time
    }
}

const DATAGRAM_BYTES: usize = HEAD_BYTES + PACKET_BYTES;

/// A ring with one UDP socket, and those it sends to.
struct Datagrams {
    ring: Ring,
    file: File,
    readers: Vec<UdpSocket>,
    addresses: Vec<SocketAddr>,
}

impl Datagrams {
    fn new(addresses: usize) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut ring = Ring::new(RingConfig::default()).expect("this bench needs io_uring");
        let socket = datagram_socket(any, &DatagramOptions::default()).expect("loopback");
        let file = ring.open_datagrams(socket).expect("an empty table");
        let readers: Vec<UdpSocket> = (0..addresses)
            .map(|_| UdpSocket::bind(any).expect("loopback"))
            .collect();
        let addresses = readers.iter().map(|reader| {
            reader.set_nonblocking(true).expect("a socket");
            reader.local_addr().expect("bound")
        });
        Self {
            addresses: addresses.collect(),
            ring,
            file,
            readers,
        }
    }

    /// A train of so many packets to every address.
    fn round(&mut self, packets: usize) -> Duration {
        let Self {
            ring,
            file,
            readers,
            addresses,
        } = self;
        let (head, body) = ([0; HEAD_BYTES], [0xA5; PACKET_BYTES]);
        let train_bytes = (packets * DATAGRAM_BYTES) as i32;
        let segment_bytes = (packets > 1).then_some(DATAGRAM_BYTES as u16);
        let (time, sent) = clock::timed(|| {
            let (now, mut sent) = (Instant::now(), 0);
            ring.turn(Some(now), now, |batch| {
                for (token, &to) in (0..).zip(&*addresses) {
                    let target = Target {
                        segment_bytes,
                        ..to.into()
                    };
                    let pieces = (0..packets).flat_map(|_| [&head[..], &body]);
                    batch.send_to(*file, token, target, pieces);
                }
            });
            ring.drain(|completion, _| {
                if let Completion::Sent { result, .. } = completion {
                    assert_eq!(result, train_bytes);
                    sent += 1;
                }
            });
            sent
        });
        assert_eq!(sent, addresses.len());
        let mut buffer = [0; DATAGRAM_BYTES + 1];
        for reader in readers {
            for _ in 0..packets {
                let read = reader.recv(&mut buffer);
                assert_eq!(read.expect("all of the train"), DATAGRAM_BYTES);
            }
        }
        time
    }
}

/// The shard's turn: engine, ring, the kernel's answers.
struct Whole {
    shard: Shard,
    house: House,
}

impl Whole {
    fn new(connections: usize) -> Self {
        Self {
            shard: Shard::new(connections),
            house: House::gathered(Plan::of(connections)),
        }
    }

    fn round(&mut self) -> Duration {
        self.house.advance(STEP, TRAIN_PACKETS);
        let Shard {
            ring,
            files,
            readers,
        } = &mut self.shard;
        let House {
            engine, now, arena, ..
        } = &mut self.house;
        let (time, sent) = clock::timed(|| {
            let (guards, sends, _) = engine.begin(*now);
            let (real, mut sent) = (Instant::now(), 0);
            ring.turn(Some(real), real, |batch| {
                sends.fill(&guards, arena, |send| {
                    let file = files[send.key.index as usize];
                    batch.send(file, token(send.key), send.pieces.iter().copied());
                });
            });
            let spare = guards.release();
            engine.end(spare);
            ring.drain(|completion, _| {
                if let Completion::Sent { token, result } = completion {
                    assert_eq!(result, TRAIN_BYTES as i32);
                    engine.sent(*now, key(token), result);
                    sent += 1;
                }
            });
            sent
        });
        assert_eq!(sent, files.len());
        readers.empty();
        time
    }
}

fn token(key: Key) -> u64 {
    u64::from(key.generation) << 32 | u64::from(key.index)
}

fn key(token: u64) -> Key {
    // The two halves of what `token` put together.
    Key {
        index: token as u32,
        generation: (token >> 32) as u32,
    }
}
