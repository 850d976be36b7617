//! A server that does on purpose what servers do by mistake, and knows exactly what it did: packets late, lost, twice, in
//! the wrong order or damaged, silence, refusals, nonsense, death. One thread per connection, marked packets
//! (`funnel_asf::probe`), over HTTP or MMS, by TCP or UDP. The first connection is the tester's scout, the others are viewers.
#![allow(dead_code)] // each test file uses its part

mod post;
pub mod tester;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use funnel_asf::probe::Probe;
use funnel_session::HResult;
use funnel_session::server::{Event, Framing, Input, Opened, Output, Session, Settings};
use funnel_wire::mms::Transport;

use post::Post;

/// What the server speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Speech {
    /// ASF over HTTP, until the connection ends.
    Http,
    /// ASF in `$H`/`$D` chunks, in chunked coding.
    WindowsMedia,
    /// The same packets over HTTP without a header: bytes to anybody.
    Bytes,
    /// MMS over TCP.
    Mms,
    /// MMS over UDP, to those who ask for it.
    Mmsu,
}

/// What one connection gets.
#[derive(Clone, Debug)]
pub struct Script {
    /// How the conversation begins.
    pub opening: Opening,
    /// Packets that were due before it began; they come at once.
    pub backlog: u64,
    /// How many packets there are; then the server keeps quiet.
    pub packets: u64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Over UDP: packets asked for again are sent again.
    pub repeats: bool,
}

/// How a conversation begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opening {
    /// As asked.
    Play,
    /// There is no such thing.
    Refuse,
    /// No answer.
    Silence,
    /// An answer in no protocol.
    Nonsense,
    /// The connection ends at the first word.
    HangUp,
}

/// What goes wrong; packets are counted per connection, from 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Every so-manieth packet comes late, by less than the time between two.
    Late {
        every: u64,
        by: Duration,
    },
    /// All packets come late.
    AllLate(Duration),
    /// Was never there.
    Lost(u64),
    /// Over UDP: leaves and does not arrive.
    Unsent(u64),
    /// Over UDP: arrives behind its successor.
    Overtaken(u64),
    Twice(u64),
    /// Comes behind its successor.
    Swapped(u64),
    /// The last byte of its payload is another.
    Damaged(u64),
    /// Nothing comes for so long when this packet is due; then everything.
    Stall {
        at: u64,
        lasts: Duration,
    },
    /// The stream ends in the protocol's way when this packet is due.
    End(u64),
    /// The connection ends when this packet is due.
    HangUp(u64),
    /// Nonsense instead of this packet.
    Nonsense(u64),
    /// From this packet on the server neither sends nor reads, and keeps the connection.
    Die(u64),
}

impl Script {
    /// A good server's: so many packets.
    pub fn good(packets: u64) -> Script {
        Script {
            opening: Opening::Play,
            backlog: 0,
            packets,
            faults: Vec::new(),
            repeats: true,
        }
    }

    /// The same with a fault.
    pub fn with(mut self, fault: Fault) -> Script {
        self.faults.push(fault);
        self
    }

    /// No stream at all.
    pub fn opening(opening: Opening) -> Script {
        Script {
            opening,
            ..Script::good(0)
        }
    }
}

/// What was done to viewers; the scout is left out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Done {
    /// Connections.
    pub viewers: u64,
    /// Those that came as far as media.
    pub plays: u64,
    /// Packets sent, each time it was.
    pub packets: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Datagrams sent, of any kind.
    pub datagrams: u64,
}

/// A running server; ends when dropped.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    speech: Speech,
    probe: Probe,
    header: Vec<u8>,
    script: Box<dyn Fn(usize) -> Script + Send + Sync>,
    began: Instant,
    began_unix_ns: u64,
    done: Mutex<Done>,
    accepted: AtomicU64,
    stop: AtomicBool,
    post: Post,
}

impl Server {
    /// Viewer `n`, from 0 in order of arrival, gets `script(n)`; the scout before them a good one.
    pub fn start(
        speech: Speech,
        probe: Probe,
        script: impl Fn(usize) -> Script + Send + Sync + 'static,
    ) -> Server {
        let scripts = move |connection: usize| match connection.checked_sub(1) {
            None => Script::good(1_000),
            Some(viewer) => script(viewer),
        };
        Server::with_scout(Ipv4Addr::LOCALHOST.into(), speech, probe, u64::MAX, scripts)
    }

    /// The scout is connection 0. After so many connections no more can be made.
    pub fn with_scout(
        host: IpAddr,
        speech: Speech,
        probe: Probe,
        connections: u64,
        script: impl Fn(usize) -> Script + Send + Sync + 'static,
    ) -> Server {
        let (listener, post) = loop {
            let listener = TcpListener::bind((host, 0)).expect("a free port");
            if let Some(post) = Post::beside(&listener) {
                break (listener, post);
            }
        };
        let address = listener.local_addr().expect("it is bound");
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let shared = Arc::new(Shared {
            speech,
            probe,
            header: probe.header([9; 16]),
            script: Box::new(script),
            began: Instant::now(),
            began_unix_ns: now.expect("after 1970").as_nanos() as u64,
            done: Mutex::default(),
            accepted: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            post,
        });
        let accepting = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || accept(&shared, listener, connections))
        };
        Server {
            shared,
            address,
            accepting: Some(accepting),
        }
    }

    /// Where to find it.
    pub fn url(&self) -> String {
        let scheme = match self.shared.speech {
            Speech::Http | Speech::Bytes => "http",
            Speech::WindowsMedia => "mmsh",
            Speech::Mms => "mms",
            Speech::Mmsu => "mmsu",
        };
        format!("{scheme}://{}/live", self.address)
    }

    /// What it has done so far.
    pub fn done(&self) -> Done {
        *self.shared.done.lock().expect("no thread panicked")
    }

    /// Connections so far, the scout's included.
    pub fn connections(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(accepting) = self.accepting.take() {
            let ended = accepting.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "a thread of the scripted server panicked"
            );
        }
    }
}

fn accept(shared: &Arc<Shared>, listener: TcpListener, connections: u64) {
    listener.set_nonblocking(true).expect("it is a socket");
    let (mut listener, mut threads) = (Some(listener), Vec::new());
    while !shared.stop.load(Ordering::SeqCst) {
        match listener.as_ref().map(TcpListener::accept) {
            Some(Ok((stream, _))) => {
                let index = shared.accepted.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(shared);
                threads.push(std::thread::spawn(move || {
                    Connection::new(shared, stream, index as usize).run();
                }));
                if index + 1 == connections {
                    listener = None;
                }
            }
            Some(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                std::thread::sleep(Duration::from_millis(2));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    for thread in threads {
        thread.join().expect("a connection's thread panicked");
    }
}

/// One connection and its thread.
struct Connection {
    shared: Arc<Shared>,
    stream: TcpStream,
    script: Script,
    is_viewer: bool,
    mms: Option<Session>,
    framing: Option<Framing>,
    sequence: u32,
    /// Where its datagrams go.
    ears: Option<SocketAddr>,
    /// Over UDP: packets as they were sent, by sequence number.
    sent: Vec<Vec<u8>>,
    request: Vec<u8>,
    /// What comes, in order.
    to_do: VecDeque<(Instant, Deed)>,
    is_deaf: bool,
}

#[derive(Clone, Debug)]
enum Deed {
    /// Number of the packet in the channel, and the packet.
    Packet(u64, Vec<u8>),
    /// The same, but only its number is used up.
    Unsent(u64, Vec<u8>),
    /// The packet of that sequence number, as it was framed.
    Again(u32),
    End,
    HangUp,
    Nonsense,
    Die,
}

/// The connection is over; not an error of anybody.
struct Over;

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Over {
        Over
    }
}

impl Connection {
    fn new(shared: Arc<Shared>, stream: TcpStream, index: usize) -> Connection {
        let script = (shared.script)(index);
        let settings = Arc::new(Settings::default());
        let mms = matches!(shared.speech, Speech::Mms | Speech::Mmsu)
            .then(|| Session::new(settings, 1 + index as u64, Instant::now()));
        let is_viewer = index > 0;
        shared.done.lock().expect("no thread panicked").viewers += u64::from(is_viewer);
        Connection {
            shared,
            stream,
            script,
            is_viewer,
            mms,
            framing: None,
            sequence: 0,
            ears: None,
            sent: Vec::new(),
            request: Vec::new(),
            to_do: VecDeque::new(),
            is_deaf: false,
        }
    }

    fn run(mut self) {
        self.stream.set_nonblocking(false).expect("it is a socket");
        self.stream.set_nodelay(true).expect("it is a TCP socket");
        let patience = Some(Duration::from_secs(1));
        self.stream.set_write_timeout(patience).expect("not zero");
        while !self.shared.stop.load(Ordering::SeqCst) {
            if self.turn().is_err() {
                return;
            }
        }
    }

    /// Does what is due, then reads until something is.
    fn turn(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        while self.to_do.front().is_some_and(|(at, _)| *at <= now) {
            let (_, deed) = self.to_do.pop_front().expect("there is one");
            self.perform(deed)?;
        }
        let wake_at = match &mut self.mms {
            Some(session) => match session.poll_output() {
                Output::Idle { wake_at } => wake_at.map(|(at, _)| at),
                other => unreachable!("drained after every input, but {other:?}"),
            },
            None => None,
        };
        if wake_at.is_some_and(|at| at <= now) {
            return self.session(Input::Timeout);
        }
        self.repeat();
        let patience = if self.ears.is_some() { 5 } else { 50 };
        let due = [self.to_do.front().map(|(at, _)| *at), wake_at];
        let wait = due
            .into_iter()
            .flatten()
            .map(|at| at.saturating_duration_since(Instant::now()))
            .fold(Duration::from_millis(patience), Duration::min)
            .max(Duration::from_millis(1));
        if self.is_deaf {
            std::thread::sleep(wait);
            return Ok(());
        }
        self.stream.set_read_timeout(Some(wait))?;
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(Over),
            Ok(count) => self.received(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(())
            }
            Err(_) => Err(Over),
        }
    }

    fn received(&mut self, bytes: &[u8]) -> Result<(), Over> {
        match self.script.opening {
            Opening::Silence => return Ok(()),
            Opening::Nonsense => return self.send(&NONSENSE),
            Opening::HangUp => return Err(Over),
            Opening::Play | Opening::Refuse => {}
        }
        if self.mms.is_some() {
            return self.session(Input::Received(bytes));
        }
        self.request.extend_from_slice(bytes);
        if !self.request.ends_with(b"\r\n\r\n") || !self.request.starts_with(b"GET /live HTTP/1.1")
        {
            return Ok(());
        }
        self.request.clear();
        if self.script.opening == Opening::Refuse {
            self.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            return Err(Over);
        }
        let coding = match self.shared.speech {
            Speech::WindowsMedia => "Transfer-Encoding: chunked\r\n",
            _ => "",
        };
        self.send(format!("HTTP/1.1 200 OK\r\nServer: scripted/1\r\n{coding}\r\n").as_bytes())?;
        let header = self.shared.header.clone();
        match self.shared.speech {
            Speech::Http => self.send(&header)?,
            Speech::WindowsMedia => self.send(&chunk(b'H', 0, &header))?,
            Speech::Bytes | Speech::Mms | Speech::Mmsu => {}
        }
        self.play();
        Ok(())
    }

    /// Feeds the MMS session, and does what it says.
    fn session(&mut self, input: Input<'_>) -> Result<(), Over> {
        let mut session = self.mms.take().expect("called with one");
        // An error ends in Event::Close.
        let _ = session.handle_input(Instant::now(), input);
        loop {
            let event = match session.poll_output() {
                Output::Send(bytes) => {
                    self.send(bytes)?;
                    continue;
                }
                Output::Datagram(bytes) => {
                    self.send_datagram(bytes);
                    continue;
                }
                Output::Idle { .. } => break,
                Output::Event(event) => event,
            };
            match event {
                Event::Open(_) => {
                    let opened = Input::Opened(self.opened());
                    let _ = session.handle_input(Instant::now(), opened);
                }
                Event::Play(play) => {
                    self.framing = Some(play.framing);
                    self.play();
                }
                Event::StopMedia => self.to_do.clear(),
                Event::Close(_) => return Err(Over),
                Event::Transport(transport) => {
                    let peer = self.stream.peer_addr()?;
                    self.ears = match transport {
                        Transport::Udp { port } => Some(SocketAddr::new(peer.ip(), port)),
                        Transport::Tcp => None,
                    };
                }
                Event::HandOver(_)
                | Event::Order { .. }
                | Event::Select(_)
                | Event::ClientLog(_) => {}
            }
        }
        self.mms = Some(session);
        Ok(())
    }

    fn opened(&self) -> Result<Opened, HResult> {
        if self.script.opening == Opening::Refuse {
            return Err(HResult::NS_E_FILE_NOT_FOUND);
        }
        Ok(Opened {
            header: self.shared.header.clone().into(),
            packet_bytes: self.shared.probe.packet_bytes(),
            bit_rate: self.shared.probe.bits_per_second(),
            streams: 1 << 1,
        })
    }

    /// Writes down what is going to happen to this viewer.
    fn play(&mut self) {
        let (probe, now) = (self.shared.probe, Instant::now());
        let next = probe.packets_until(now - self.shared.began);
        let first = next.saturating_sub(self.script.backlog);
        let due = |index: u64| self.shared.began + probe.due(first + index);
        let mut to_do: Vec<(Instant, Deed)> = (0..self.script.packets)
            .map(|index| {
                let (seq, mut packet) = (first + index, Vec::new());
                let due_unix_ns = self.shared.began_unix_ns + probe.due(seq).as_nanos() as u64;
                probe.packet(seq, due_unix_ns, &mut packet);
                (due(index).max(now), Deed::Packet(seq, packet))
            })
            .collect();
        // From the back, so that places stay what they are.
        let mut faults = self.script.faults.clone();
        faults.sort_by_key(|fault| std::cmp::Reverse(fault.place()));
        for fault in faults {
            fault.commit(&mut to_do, &probe);
        }
        self.to_do = to_do.into();
        self.note(|done| done.plays += 1);
    }

    fn perform(&mut self, deed: Deed) -> Result<(), Over> {
        match deed {
            Deed::Packet(seq, packet) => self.packet(seq, &packet),
            Deed::Unsent(seq, packet) => {
                let _ = self.framed(seq, &packet);
                Ok(())
            }
            Deed::Again(sequence) => {
                self.send_datagram(&self.sent[sequence as usize]);
                Ok(())
            }
            Deed::Nonsense => self.send(&NONSENSE),
            Deed::HangUp => Err(Over),
            Deed::Die => {
                self.is_deaf = true;
                Ok(())
            }
            Deed::End => match self.shared.speech {
                Speech::Mms | Speech::Mmsu => self.session(Input::MediaDrained),
                Speech::WindowsMedia => self.send(b"0\r\n\r\n"),
                Speech::Http | Speech::Bytes => Err(Over),
            },
        }
    }

    fn packet(&mut self, seq: u64, packet: &[u8]) -> Result<(), Over> {
        let framed = self.framed(seq, packet);
        if self.ears.is_some() {
            self.send_datagram(&framed);
        } else {
            self.send(&framed)?;
        }
        self.note(|done| done.packets += 1);
        Ok(())
    }

    /// As it is to be sent; over UDP it is kept for those who ask for it again.
    fn framed(&mut self, seq: u64, packet: &[u8]) -> Vec<u8> {
        let framed = match self.shared.speech {
            Speech::Http | Speech::Bytes => packet.to_vec(),
            Speech::WindowsMedia => chunk(b'D', seq as u32, packet),
            Speech::Mms | Speech::Mmsu => {
                let mut head = [0; Framing::HEAD_BYTES_MAX];
                let framing = self.framing.expect("set by Event::Play");
                let size = framing.head(seq as u32, self.sequence, packet.len(), &mut head);
                self.sequence += 1;
                [&head[..size], packet].concat()
            }
        };
        if self.ears.is_some() {
            self.sent.push(framed.clone());
        }
        framed
    }

    /// Sends again what was asked for.
    fn repeat(&mut self) {
        let Some(session) = &self.mms else { return };
        for sequence in self.shared.post.asked(session.client_id()) {
            // At the end players ask for more than there is.
            if self.script.repeats
                && let Some(packet) = self.sent.get(sequence as usize)
            {
                self.send_datagram(packet);
            }
        }
    }

    fn send_datagram(&self, datagram: &[u8]) {
        let to = self.ears.expect("set by Event::Transport");
        self.shared.post.send(to, datagram);
        self.note(|done| {
            done.datagrams += 1;
            done.bytes += datagram.len() as u64;
        });
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.stream.write_all(bytes)?;
        self.note(|done| done.bytes += bytes.len() as u64);
        Ok(())
    }

    fn note(&self, change: impl Fn(&mut Done)) {
        if self.is_viewer {
            change(&mut self.shared.done.lock().expect("no thread panicked"));
        }
    }
}

impl Fault {
    /// The packet it befalls.
    fn place(self) -> u64 {
        match self {
            Fault::Late { .. } | Fault::AllLate(_) => 0,
            Fault::Lost(at)
            | Fault::Unsent(at)
            | Fault::Overtaken(at)
            | Fault::Twice(at)
            | Fault::Swapped(at)
            | Fault::Damaged(at)
            | Fault::Stall { at, .. }
            | Fault::End(at)
            | Fault::HangUp(at)
            | Fault::Nonsense(at)
            | Fault::Die(at) => at,
        }
    }

    fn commit(self, to_do: &mut Vec<(Instant, Deed)>, probe: &Probe) {
        let place = self.place() as usize;
        match self {
            Fault::Late { every, by } => {
                assert!(by < probe.due(1), "others would be late as well");
                for (at, _) in to_do
                    .iter_mut()
                    .skip(every as usize - 1)
                    .step_by(every as usize)
                {
                    *at += by;
                }
            }
            Fault::AllLate(by) => to_do.iter_mut().for_each(|(at, _)| *at += by),
            Fault::Lost(_) => drop(to_do.remove(place)),
            Fault::Unsent(_) | Fault::Overtaken(_) => {
                let Deed::Packet(seq, packet) = &to_do[place].1 else {
                    panic!("packet {place} is none any more");
                };
                to_do[place].1 = Deed::Unsent(*seq, packet.clone());
                if let Fault::Overtaken(_) = self {
                    let at = to_do[place + 1].0;
                    to_do.insert(place + 2, (at, Deed::Again(place as u32)));
                }
            }
            Fault::Twice(_) => to_do.insert(place, to_do[place].clone()),
            Fault::Swapped(_) => {
                to_do[place].0 = to_do[place + 1].0;
                to_do.swap(place, place + 1);
            }
            Fault::Damaged(_) => {
                let Deed::Packet(_, packet) = &mut to_do[place].1 else {
                    panic!("packet {place} is none any more");
                };
                *packet.last_mut().expect("packets are not empty") ^= 0xFF;
            }
            Fault::Stall { lasts, .. } => {
                let until = to_do[place].0 + lasts;
                for (at, _) in &mut to_do[place..] {
                    *at = until.max(*at);
                }
            }
            Fault::End(_) => Fault::cut(to_do, place, Deed::End),
            Fault::HangUp(_) => Fault::cut(to_do, place, Deed::HangUp),
            Fault::Nonsense(_) => Fault::cut(to_do, place, Deed::Nonsense),
            Fault::Die(_) => Fault::cut(to_do, place, Deed::Die),
        }
    }

    fn cut(to_do: &mut Vec<(Instant, Deed)>, place: usize, last: Deed) {
        to_do[place].1 = last;
        to_do.truncate(place + 1);
    }
}

/// MS-WMSP 2.2.3: `$`, kind, length, an 8-byte head with the packet's number; in one chunk of HTTP/1.1.
fn chunk(kind: u8, location: u32, payload: &[u8]) -> Vec<u8> {
    let length = ((payload.len() + 8) as u16).to_le_bytes();
    let mut all = format!("{:X}\r\n", payload.len() + 12).into_bytes();
    all.extend([b'$', kind]);
    all.extend(length);
    all.extend(location.to_le_bytes());
    all.extend([0, 0]);
    all.extend(length);
    all.extend(payload);
    all.extend(b"\r\n");
    all
}

/// No protocol has this: no HTTP, no chunk size, no MMS message, no MMS packet (a size of 0).
const NONSENSE: [u8; 64] =
    *b"\0\0\0\0\0\0\0\0 nonsense nonsense nonsense nonsense nonsense nonsense\r\n";
