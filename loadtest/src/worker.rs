//! One pinned thread with one ring: makes its share of the viewers arrive, talk, misbehave and leave, and measures them.
//!
//! A turn: who is due arrives or leaves; one `io_uring_enter` sends what viewers have to say and waits; what came is measured
//! with the clock read as it is looked at. Once a second all viewers are looked through for deadlines and stalls, and the
//! second's figures go to the main thread.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{io, mem};

use crossbeam::channel::Sender;
use crossbeam::sync::WaitGroup;
use fastrand::Rng;
use funnel_uring::net::{ClientOptions, client_socket};
use funnel_uring::{Completion, File, Ops, Ring};

use crate::arrival::{Conduct, Crowd, Visit};
use crate::meter::{Book, Scale, record};
use crate::news::Heard;
use crate::tally::{Second, Tally, distribution};
use crate::target::{Target, Way};
use crate::viewer::{End, Viewer};

/// What a worker is to do.
pub struct Plan {
    /// Whom to visit.
    pub target: Target,
    /// What replacements are drawn from.
    pub crowd: Crowd,
    /// Its share, in order of arrival.
    pub visits: VecDeque<Visit>,
    /// For what is drawn later.
    pub seed: u64,
    /// Where connections come from; empty: wherever the kernel likes.
    pub sources: Vec<IpAddr>,
    /// Start of the run.
    pub began: Instant,
    /// Share of datagrams that are dropped before their viewer hears them.
    pub drop: f64,
    /// Measures.
    pub scale: Scale,
    /// Set to end the run before its time.
    pub stop: Arc<AtomicBool>,
    /// Lets workers wait for each other before they close their connections.
    pub all_measured: WaitGroup,
}

/// What a worker has found.
#[derive(Debug, Default)]
pub struct Found {
    /// All it measured.
    pub tally: Tally,
    /// Failures in words.
    pub failures: HashMap<String, u64>,
    /// Marks from the future.
    pub early_marks: u64,
    /// Viewers this machine had no means for.
    pub own_failures: u64,
    /// The longest time an arrival had to wait for this program.
    pub late_max: Duration,
    /// The longest time between two looks at what had come.
    pub turn_max: Duration,
}

/// Runs until the end of the steady time.
pub fn run(plan: Plan, mut ring: Ring, seconds: &Sender<Second>) -> Found {
    let mut house = House::new(plan);
    let mut next_second = house.plan.began + SECOND;
    // When the kernel last handed over what had come.
    let mut looked = Instant::now();
    loop {
        // A second that ends with the run is one more.
        let now = Instant::now();
        if now >= next_second {
            house.look(now, ring.ops());
            // The main thread hangs up only after this one.
            let _ = seconds.send(house.second(now));
            next_second += SECOND;
        }
        if now >= house.plan.scale.steady.end || house.plan.stop.load(Ordering::Relaxed) {
            break;
        }
        house.arrive(now, &mut ring);
        house.wake(now, ring.ops());
        house.found.turn_max = house.found.turn_max.max(looked.elapsed());
        house.turn(&mut ring, now, next_second);
        looked = Instant::now();
        ring.drain(|completion, ops| house.take(Instant::now(), completion, ops));
    }
    let end = house.plan.scale.steady.end.min(Instant::now());
    let all_measured = house.plan.all_measured.clone();
    let found = house.finish(end);
    // Closing thousands of connections takes a core for a while, and others may be measuring on it.
    all_measured.wait();
    found
}

struct House {
    plan: Plan,
    rng: Rng,
    viewers: Vec<Slot>,
    free: Vec<u32>,
    /// Viewers with something to say.
    talkative: Vec<u64>,
    /// Those that are saying it in this turn.
    sending: Vec<u64>,
    /// Datagrams to the server, with the sockets they leave by.
    datagrams: Vec<(File, Vec<u8>)>,
    wakes: BinaryHeap<Reverse<(Instant, u64)>>,
    book: Book,
    bytes_before: u64,
    second_began: Instant,
    seconds: u64,
    found: Found,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    viewer: Option<Viewer>,
}

/// A viewer's name: its slot in the low half, the slot's generation in the high one, so that a late name finds nobody.
fn key(index: usize, slot: &Slot) -> u64 {
    u64::from(slot.generation) << 32 | index as u64
}

/// The slot of that name, unless its viewer is gone.
fn slot(viewers: &[Slot], key: u64) -> Option<&Slot> {
    let slot = viewers.get(key as u32 as usize)?;
    (u64::from(slot.generation) == key >> 32).then_some(slot)
}

/// The same, to change it.
fn slot_mut(viewers: &mut [Slot], key: u64) -> Option<&mut Slot> {
    let slot = viewers.get_mut(key as u32 as usize)?;
    (u64::from(slot.generation) == key >> 32).then_some(slot)
}

impl House {
    fn new(plan: Plan) -> House {
        let mut book = Book::default();
        book.tally.counts.planned = plan.visits.len() as u64;
        House {
            rng: Rng::with_seed(plan.seed),
            viewers: Vec::new(),
            free: Vec::new(),
            talkative: Vec::new(),
            sending: Vec::new(),
            datagrams: Vec::new(),
            wakes: BinaryHeap::new(),
            book,
            bytes_before: 0,
            second_began: plan.began,
            seconds: 0,
            found: Found::default(),
            plan,
        }
    }

    /// Lets those connect whose time has come, some at a time.
    fn arrive(&mut self, now: Instant, ring: &mut Ring) {
        for _ in 0..ARRIVALS_PER_TURN {
            let due = self
                .plan
                .visits
                .front()
                .is_some_and(|visit| self.plan.began + visit.at <= now);
            let Some(visit) = self.plan.visits.pop_front_if(|_| due) else {
                return;
            };
            self.connect(visit, now, ring);
        }
    }

    fn connect(&mut self, visit: Visit, now: Instant, ring: &mut Ring) {
        let scheduled = self.plan.began + visit.at;
        self.found.late_max = self
            .found
            .late_max
            .max(now.saturating_duration_since(scheduled));
        let counts = &mut self.book.tally.counts;
        counts.arrived += 1;
        counts.misbehaved += u64::from(visit.conduct != Conduct::Well);
        let source = self
            .plan
            .sources
            .get(visit.source % self.plan.sources.len().max(1))
            .copied();
        let key = self.settle(Viewer::new(visit, scheduled));
        if let Err(error) = self.open(key, source, now, ring) {
            let errno = error.raw_os_error().unwrap_or_default();
            self.end(key, now, End::NotConnected(errno), ring.ops());
        }
    }

    /// Opens what the viewer needs: ears for datagrams, a connection to talk over.
    fn open(
        &mut self,
        key: u64,
        source: Option<IpAddr>,
        now: Instant,
        ring: &mut Ring,
    ) -> io::Result<()> {
        let ears = match self.plan.target.ears(source)? {
            Some(socket) => {
                let local = socket.local_addr()?.as_socket();
                let file = ring.open_datagrams(socket)?;
                ring.ops().receive_datagrams(file, key);
                local.map(|local| (file, local))
            }
            None => None,
        };
        let target = &self.plan.target;
        let (address, has_connection) = (target.address, target.way() != Way::Group);
        let Some(viewer) = self.viewer(key) else {
            return Ok(());
        };
        viewer.ears = ears;
        if !has_connection {
            self.connected(key, now, ring.ops());
            return Ok(());
        }
        let options = ClientOptions {
            // A viewer that does not read should not have megabytes to fill first.
            receive_buffer_bytes: matches!(
                viewer.visit.conduct,
                Conduct::Stalled | Conduct::Slow(_)
            )
            .then_some(LAZY_BUFFER_BYTES),
            no_delay: true,
        };
        let socket = client_socket(source, address, &options)?;
        ring.ops().connect(socket, address, key);
        Ok(())
    }

    fn settle(&mut self, viewer: Viewer) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.viewers.push(Slot::default());
            self.viewers.len() as u32 - 1
        });
        let slot = &mut self.viewers[index as usize];
        slot.viewer = Some(viewer);
        key(index as usize, slot)
    }

    fn viewer(&mut self, key: u64) -> Option<&mut Viewer> {
        slot_mut(&mut self.viewers, key)?.viewer.as_mut()
    }

    /// Those who leave, those who miss datagrams, and those who read slowly.
    fn wake(&mut self, now: Instant, ops: &mut Ops) {
        while let Some(Reverse((at, key))) = self.wakes.peek().copied()
            && at <= now
        {
            self.wakes.pop();
            let Some(viewer) = self.viewer(key) else {
                continue;
            };
            if viewer.leaves_at(at) {
                self.end(key, now, End::Left, ops);
            } else if viewer.ears.is_some() {
                viewer.awake();
                self.hear(key, now, Heard::Time, 0, ops);
            } else if let Some(file) = viewer.file {
                ops.receive_some(file, key, viewer.sip_bytes());
            }
        }
    }

    /// One entry into the kernel: sends, and waits for the next thing to happen.
    fn turn(&mut self, ring: &mut Ring, now: Instant, next_second: Instant) {
        let arrival = self
            .plan
            .visits
            .front()
            .map(|visit| self.plan.began + visit.at);
        let wake = self.wakes.peek().map(|Reverse((at, _))| *at);
        let until = [arrival, wake, Some(self.plan.scale.steady.end)]
            .into_iter()
            .flatten()
            .fold(next_second, Instant::min);
        mem::swap(&mut self.talkative, &mut self.sending);
        let (viewers, sending) = (&self.viewers, &self.sending);
        let (datagrams, server) = (&self.datagrams, self.plan.target.address);
        ring.turn(Some(until), now, |batch| {
            for &key in sending {
                if let Some(Slot {
                    viewer: Some(viewer),
                    ..
                }) = slot(viewers, key)
                    && let Some(file) = viewer.file
                {
                    batch.send(file, key, [&viewer.said.stream[..]]);
                }
            }
            for (ears, datagram) in datagrams {
                batch.send_to(*ears, NOBODY, server.into(), [&datagram[..]]);
            }
        });
        self.sending.clear();
        self.datagrams.clear();
    }

    fn take(&mut self, now: Instant, completion: Completion<'_>, ops: &mut Ops) {
        match completion {
            Completion::Connected { token, file } => {
                if let Some(viewer) = self.viewer(token) {
                    viewer.file = Some(file);
                    self.connected(token, now, ops);
                } else {
                    ops.abort(file);
                }
            }
            Completion::ConnectFailed { token, errno } => {
                self.end(token, now, End::NotConnected(errno), ops)
            }
            Completion::Received { token, bytes } => self.received(token, now, bytes, ops),
            Completion::Datagram { token, from, bytes } => {
                self.datagram(token, now, Heard::Datagram(from, bytes), bytes.len(), ops);
            }
            Completion::ReceiveEnded { token, .. } => self.hung_up(token, now, ops),
            Completion::Writable { token } => self.talkative.push(token),
            Completion::Sent { token, result } => self.sent(token, result, ops),
            Completion::Accepted { .. }
            | Completion::AcceptFailed { .. }
            | Completion::LocalAddress { .. }
            | Completion::HandedOver { .. }
            | Completion::DoorbellRang => {}
        }
    }

    fn connected(&mut self, key: u64, now: Instant, ops: &mut Ops) {
        self.book.tally.counts.connected += 1;
        let Some(viewer) = slot_mut(&mut self.viewers, key).and_then(|slot| slot.viewer.as_mut())
        else {
            return;
        };
        let took = now.saturating_duration_since(viewer.scheduled);
        let conduct = viewer.visit.conduct;
        let wake = viewer.connected(&self.plan.target, now, &mut self.rng);
        match viewer.file {
            Some(file) if conduct.reads_at_will() => ops.receive(file, key),
            Some(file) => ops.receive_some(file, key, SIP_BYTES_MAX),
            None => {} // a group has no connection
        }
        if conduct == Conduct::Well {
            record(&mut self.book.tally.connect, took);
        }
        self.wakes.extend(wake.map(|at| Reverse((at, key))));
        self.speak(key);
    }

    /// Has the viewer's words sent with the next turn, each once, however often it is asked for; and has it woken in time.
    fn speak(&mut self, key: u64) {
        let Some(viewer) = slot_mut(&mut self.viewers, key).and_then(|slot| slot.viewer.as_mut())
        else {
            return;
        };
        if !viewer.said.stream.is_empty() && !mem::replace(&mut viewer.is_speaking, true) {
            self.talkative.push(key);
        }
        self.wakes
            .extend(viewer.alarm().map(|at| Reverse((at, key))));
        if let Some((ears, _)) = viewer.ears {
            let datagrams = viewer.said.datagrams.drain(..);
            self.datagrams
                .extend(datagrams.map(|datagram| (ears, datagram)));
        }
    }

    fn received(&mut self, key: u64, now: Instant, bytes: &[u8], ops: &mut Ops) {
        self.hear(key, now, Heard::Stream(bytes), bytes.len(), ops);
        let Some(viewer) = self.viewer(key) else {
            return;
        };
        let (conduct, is_watching) = (viewer.visit.conduct, viewer.is_watching());
        let Some(file) = viewer.file else { return };
        match conduct {
            Conduct::Slow(_) if is_watching => {
                self.wakes.push(Reverse((now + SIP_EVERY, key)));
            }
            Conduct::Stalled if is_watching => {}
            conduct if conduct.reads_at_will() => {}
            _ => ops.receive_some(file, key, SIP_BYTES_MAX),
        }
    }

    /// A datagram that the network of `--drop` may lose.
    fn datagram(&mut self, key: u64, now: Instant, heard: Heard<'_>, bytes: usize, ops: &mut Ops) {
        let datagrams = &mut self.book.tally.datagrams;
        if self.plan.drop > 0.0 && self.rng.f64() < self.plan.drop {
            datagrams.dropped += 1;
            return;
        }
        datagrams.received += 1;
        self.hear(key, now, heard, bytes, ops);
    }

    fn hear(&mut self, key: u64, now: Instant, heard: Heard<'_>, bytes: usize, ops: &mut Ops) {
        let Some(viewer) = slot_mut(&mut self.viewers, key).and_then(|slot| slot.viewer.as_mut())
        else {
            return;
        };
        self.book.tally.counts.bytes += bytes as u64;
        match viewer.hear(now, heard, &self.plan.scale, &mut self.book) {
            Some(over) => self.end(key, now, End::Over(over), ops),
            None => self.speak(key),
        }
    }

    fn hung_up(&mut self, key: u64, now: Instant, ops: &mut Ops) {
        let viewer = slot_mut(&mut self.viewers, key).and_then(|slot| slot.viewer.as_mut());
        if let Some(viewer) = viewer {
            let over = viewer.hung_up(now, &self.plan.scale, &mut self.book);
            self.end(key, now, End::Over(over), ops);
        }
    }

    fn sent(&mut self, key: u64, result: i32, ops: &mut Ops) {
        let Some(viewer) = self.viewer(key) else {
            return;
        };
        match usize::try_from(result) {
            Ok(taken) => {
                let said = &mut viewer.said.stream;
                said.drain(..taken.min(said.len()));
            }
            Err(_) if matches!(-result, libc::EAGAIN | libc::EINTR | libc::ENOBUFS) => {}
            // Nobody hears it any more. The receive, if there is one, ends as well and says so; without one (who stalls has
            // none) the socket would be writable for ever and every turn would try in vain.
            Err(_) => viewer.said.stream.clear(),
        }
        viewer.is_speaking = !viewer.said.stream.is_empty();
        if viewer.is_speaking
            && let Some(file) = viewer.file
        {
            ops.poll_writable(file, key);
        }
    }

    /// Once a second: deadlines of sessions, stalls of playback.
    fn look(&mut self, now: Instant, ops: &mut Ops) {
        let (mut speak, mut over) = (Vec::new(), Vec::new());
        for (index, slot) in self.viewers.iter_mut().enumerate() {
            let Some(viewer) = &mut slot.viewer else {
                continue;
            };
            let ended = viewer.look(now, &self.plan.scale, &mut self.book);
            let key = key(index, slot);
            speak.push(key);
            over.extend(ended.map(|ended| (key, ended)));
        }
        speak.into_iter().for_each(|key| self.speak(key));
        for (key, ended) in over {
            self.end(key, now, End::Over(ended), ops);
        }
    }

    fn second(&mut self, now: Instant) -> Second {
        self.seconds += 1;
        let counts = &self.book.tally.counts;
        let bytes = counts.bytes - mem::replace(&mut self.bytes_before, counts.bytes);
        let viewers = || self.viewers.iter().filter_map(|slot| slot.viewer.as_ref());
        Second {
            number: self.seconds,
            at: now.saturating_duration_since(self.plan.began),
            length: now.saturating_duration_since(mem::replace(&mut self.second_began, now)),
            up: viewers().filter(|viewer| viewer.is_up()).count() as u64,
            playing: viewers().filter(|viewer| viewer.is_playing()).count() as u64,
            stalled: viewers().filter(|viewer| viewer.meter.is_stalled()).count() as u64,
            bytes,
            failed: counts.failed.total(),
            bad_packets: self.book.bad_packets,
            stalls: mem::take(&mut self.book.second_stalls),
            delay: mem::replace(&mut self.book.second, distribution()),
        }
    }

    /// A viewer is gone. Whoever left of his own will is replaced.
    fn end(&mut self, key: u64, now: Instant, end: End, ops: &mut Ops) {
        let Some(slot) = slot_mut(&mut self.viewers, key) else {
            return;
        };
        let Some(mut viewer) = slot.viewer.take() else {
            return;
        };
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key as u32);
        if let Some((ears, _)) = viewer.ears {
            ops.close(ears);
        }
        if let Some(file) = viewer.file {
            if viewer.visit.conduct == Conduct::Vanishing {
                ops.abort(file)
            } else {
                ops.close(file)
            }
        }
        if end == End::Left && self.plan.crowd.stay.is_some() {
            let at = now.saturating_duration_since(self.plan.began);
            let visit = self.plan.crowd.visit(at, &mut self.rng);
            let place = self.plan.visits.partition_point(|other| other.at <= at);
            self.plan.visits.insert(place, visit);
            self.book.tally.counts.planned += 1;
        }
        self.judge(&mut viewer, now, &end);
    }

    fn judge(&mut self, viewer: &mut Viewer, now: Instant, end: &End) {
        if let End::NotConnected(errno) = end {
            self.found.own_failures += u64::from(is_own_failure(*errno));
        }
        if let Some(text) = viewer.judge(now, end, &self.plan.scale, &mut self.book) {
            *self.found.failures.entry(text).or_default() += 1;
        }
    }

    fn finish(mut self, now: Instant) -> Found {
        if let Some(visit) = self.plan.visits.front() {
            let waited = now.saturating_duration_since(self.plan.began + visit.at);
            self.found.late_max = self.found.late_max.max(waited);
        }
        let mut viewers = mem::take(&mut self.viewers);
        for viewer in viewers.iter_mut().filter_map(|slot| slot.viewer.as_mut()) {
            self.judge(viewer, now, &End::RunOver);
        }
        self.found.early_marks = self.book.early_marks;
        self.found.tally = self.book.tally;
        self.found
    }
}

impl Conduct {
    /// Takes all there is as it comes.
    fn reads_at_will(self) -> bool {
        !matches!(self, Conduct::Stalled | Conduct::Slow(_))
    }
}

/// Whether this errno of a connect is for want of something here: ports, descriptors, memory. The server never saw it.
fn is_own_failure(errno: i32) -> bool {
    let own = [
        libc::EADDRNOTAVAIL,
        libc::EADDRINUSE,
        libc::EAGAIN,
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOBUFS,
        libc::ENOMEM,
    ];
    own.contains(&errno)
}

/// For the words of errors.
pub fn error_words(errno: i32) -> String {
    std::io::Error::from_raw_os_error(errno).to_string()
}

/// Whom the end of a datagram's way concerns: whoever misses the answer asks again.
const NOBODY: u64 = u64::MAX;
/// Sockets made before the ring is looked at again.
const ARRIVALS_PER_TURN: usize = 64;
/// Receive buffer of viewers that do not read; the kernel doubles it.
const LAZY_BUFFER_BYTES: usize = 32 << 10;
/// The most a viewer that asks for each read takes at once.
pub const SIP_BYTES_MAX: u32 = 16 << 10;
/// How often slow viewers read.
pub const SIP_EVERY: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
