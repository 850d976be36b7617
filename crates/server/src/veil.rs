//! TLS between the ring and the engine: what a connection to an HTTPS port says is decrypted before the engine hears it, and what the
//! engine sends is encrypted before the ring does.
//!
//! To the engine a [`Veil`] is part of the socket, with a buffer of its own: a send counts as taken when it is encrypted and the kernel
//! took some of it, the rest follows from here, and until it is out the engine hears that the socket is full. So a viewer that stalls
//! holds what the kernel left of one send: a part of a train, or of a visit in its fast start. Ciphertext of one turn lies in one arena ([`Room`]), from which the ring sends. What
//! TLS itself has to say (handshake, tickets, alerts) waits in rustls and goes with the next send, or alone.
//!
//! A steady train costs two heap operations more than a plain one: rustls makes a list of its pieces and a buffer for each
//! record, which holds 16 KiB.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, IoSlice, Write as _};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use funnel_engine::{Engine, Key, Outgoing};
use funnel_session::server::HandOver;
use funnel_uring::{Batch, File, Ops, PIECES_MAX};
use rustls::{Connection, ServerConfig, ServerConnection};
use slab::Slab;

use crate::sockets::token_of_veil;

/// Names a veil of a shard; reused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct VeilId(NonZeroU32);

impl VeilId {
    /// Of a number below 2³¹.
    pub(crate) fn new(number: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(number))
    }

    pub(crate) fn number(self) -> u32 {
        self.0.get() - 1
    }
}

/// The connections of a shard that came over TLS.
#[derive(Debug, Default)]
pub(crate) struct Veils {
    veils: Slab<Veil>,
    /// Those with something to send that the engine does not know of.
    sending: Vec<VeilId>,
    /// Those the engine has said something about.
    touched: Vec<VeilId>,
    /// Those that are on their way out, in order, and how long they may take.
    leaving: VecDeque<(Instant, VeilId, u64)>,
    /// Those that may go to their desk.
    guests: Vec<(File, HandOver, Box<Connection>)>,
    /// How many there have been.
    opened: u64,
    /// What a connection said, decrypted.
    heard: Vec<u8>,
}

#[derive(Debug)]
struct Veil {
    file: File,
    peer: SocketAddr,
    tls: Box<Connection>,
    owner: Owner,
    /// Which of all there have been.
    number: u64,
    /// What the kernel did not take of the last send.
    rest: Vec<u8>,
    flight: Option<Flight>,
    /// The socket is full; the ring will say when it is not.
    is_full: bool,
    /// The engine wants to know when it can send.
    is_awaited: bool,
    is_sending: bool,
}

/// Whom a connection belongs to.
#[derive(Debug)]
enum Owner {
    Viewer(Key),
    /// On its way to a desk.
    Guest(HandOver),
    /// Its session is over: it goes when the last bytes have gone.
    Nobody,
}

/// What the kernel has been given.
#[derive(Clone, Copy, Debug)]
struct Flight {
    /// Place and size in the arena.
    at: usize,
    bytes: usize,
    /// Bytes of the engine's in it, if it is the engine's send.
    of_engine: Option<usize>,
}

/// Room for one turn's ciphertext, and answers to sends that were none.
pub(crate) struct Room<'d> {
    rest: &'d mut [u8],
    /// Where in the arena that begins.
    at: usize,
    /// Results for [`Engine::sent`].
    pub(crate) answers: Vec<(Key, i32)>,
}

impl<'d> Room<'d> {
    pub(crate) fn new(arena: &'d mut [u8], answers: Vec<(Key, i32)>) -> Self {
        Self {
            rest: arena,
            at: 0,
            answers,
        }
    }
}

impl Veils {
    /// A connection was accepted, and the engine knows it as `key`.
    ///
    /// # Errors
    /// The configuration does not fit; none that was loaded does.
    pub(crate) fn add(
        &mut self,
        file: File,
        peer: SocketAddr,
        key: Key,
        config: Arc<ServerConfig>,
    ) -> Result<VeilId, rustls::Error> {
        let mut tls = Connection::from(ServerConnection::new(config)?);
        tls.set_buffer_limit(None); // it never holds more than one send
        self.opened += 1;
        let veil = Veil {
            file,
            peer,
            tls: Box::new(tls),
            owner: Owner::Viewer(key),
            number: self.opened,
            rest: Vec::new(),
            flight: None,
            is_full: false,
            is_awaited: false,
            is_sending: false,
        };
        // No more of them than files, which are far fewer than 2³¹.
        Ok(VeilId::new(self.veils.insert(veil) as u32))
    }

    /// Whether nobody is left whose last bytes are on their way.
    pub(crate) fn is_empty(&self) -> bool {
        self.veils.is_empty()
    }

    /// When this has something to do by itself.
    pub(crate) fn wake(&self, now: Instant) -> Option<Instant> {
        if self.sending.is_empty() {
            self.leaving.front().map(|&(until, ..)| until)
        } else {
            Some(now)
        }
    }

    /// Bytes came.
    ///
    /// # Errors
    /// Who broke TLS, and how.
    pub(crate) fn received(
        &mut self,
        now: Instant,
        id: VeilId,
        bytes: &[u8],
        engine: &mut Engine,
    ) -> Result<(), (SocketAddr, rustls::Error)> {
        let Some(veil) = self.veils.get_mut(id.number() as usize) else {
            return Ok(());
        };
        let outcome = match &mut veil.owner {
            Owner::Viewer(key) => {
                self.heard.clear();
                let outcome = decrypt(&mut veil.tls, bytes, &mut self.heard);
                if !self.heard.is_empty() {
                    engine.received(now, *key, &self.heard);
                }
                if !matches!(outcome, Ok(Heard::More)) {
                    engine.hung_up(*key, 0);
                }
                self.heard.shrink_to(HEARD_BYTES_USUAL);
                outcome
            }
            Owner::Guest(hand_over) => {
                let outcome = decrypt(&mut veil.tls, bytes, &mut hand_over.received);
                if hand_over.received.len() > GUEST_BYTES_MAX {
                    veil.owner = Owner::Nobody; // it talks and does not listen
                }
                outcome
            }
            Owner::Nobody => Ok(Heard::More),
        };
        let peer = veil.peer;
        if veil.tls.wants_write() {
            self.send_soon(id);
        }
        outcome.map(drop).map_err(|error| (peer, error))
    }

    /// The peer's bytes are over: `result` 0, or −errno.
    pub(crate) fn ended(&mut self, id: VeilId, result: i32, engine: &mut Engine, ops: &mut Ops) {
        let Some(veil) = self.veils.get(id.number() as usize) else {
            return;
        };
        match veil.owner {
            Owner::Viewer(key) => engine.hung_up(key, result),
            // A desk finds the end again; the last bytes may still be wanted.
            Owner::Guest(_) | Owner::Nobody if result == 0 => {}
            Owner::Guest(_) | Owner::Nobody => self.abort(id, ops),
        }
    }

    /// The socket takes bytes again.
    pub(crate) fn writable(
        &mut self,
        now: Instant,
        id: VeilId,
        engine: &mut Engine,
        ops: &mut Ops,
    ) {
        if let Some(veil) = self.veils.get_mut(id.number() as usize) {
            veil.is_full = false;
        }
        self.settle(now, id, engine, ops);
    }

    /// The kernel's answer to a send: bytes taken, or −errno. `arena` is what [`Room`] was made of.
    pub(crate) fn sent(
        &mut self,
        now: Instant,
        id: VeilId,
        result: i32,
        arena: &[u8],
        engine: &mut Engine,
        ops: &mut Ops,
    ) {
        let Some(veil) = self.veils.get_mut(id.number() as usize) else {
            return;
        };
        let Some(flight) = veil.flight.take() else {
            return;
        };
        let taken = match usize::try_from(result) {
            Ok(taken) => taken,
            Err(_) if result == -EAGAIN => 0,
            Err(_) => {
                return match veil.owner {
                    Owner::Viewer(key) => engine.hung_up(key, result),
                    Owner::Guest(_) | Owner::Nobody => self.abort(id, ops),
                };
            }
        };
        if taken < flight.bytes {
            let left = arena.get(flight.at + taken..flight.at + flight.bytes);
            veil.rest
                .splice(..0, left.unwrap_or_default().iter().copied());
            veil.wait_for_room(id, ops);
        }
        if let (Owner::Viewer(key), Some(bytes)) = (&veil.owner, flight.of_engine) {
            // A visit has far fewer than 2³¹ bytes.
            engine.sent(now, *key, bytes as i32);
        }
        self.settle(now, id, engine, ops);
    }

    /// Encrypts a send of the engine's and lends it to the ring.
    pub(crate) fn send<'d>(
        &mut self,
        id: VeilId,
        batch: &mut Batch<'_, 'd>,
        room: &mut Room<'d>,
        send: &Outgoing<'_, 'd>,
    ) {
        let Some(veil) = self.veils.get_mut(id.number() as usize) else {
            return;
        };
        let bytes = send.pieces.iter().map(|piece| piece.len()).sum::<usize>();
        if veil.tls.is_handshaking() {
            // Nobody could read it, and a session ends without an answer here. A visit has far fewer than 2³¹ bytes.
            return room.answers.push((send.key, bytes as i32));
        }
        if veil.is_full || !veil.rest.is_empty() || room.rest.len() < covered(bytes) {
            return room.answers.push((send.key, -EAGAIN));
        }
        let taken = veil.encrypt(send.pieces);
        veil.launch(id, batch, room, Some(taken));
        if veil.flight.is_none() {
            room.answers.push((send.key, -EAGAIN)); // nothing could be encrypted: its end is on the way
        }
    }

    /// Lends to the ring what else is to be sent: call it after all sends of the engine's.
    pub(crate) fn send_rest<'d>(&mut self, batch: &mut Batch<'_, 'd>, room: &mut Room<'d>) {
        self.sending.retain(|&id| {
            let Some(veil) = self.veils.get_mut(id.number() as usize) else {
                return false;
            };
            if veil.flight.is_none() && !veil.is_full {
                if room.rest.is_empty() {
                    return true;
                }
                veil.launch(id, batch, room, None);
            }
            veil.is_sending = false; // the kernel's answer brings it back if there is more
            false
        });
    }

    /// The engine wants to know when it can send.
    pub(crate) fn await_writable(&mut self, id: VeilId, ops: &mut Ops) {
        if let Some(veil) = self.veils.get_mut(id.number() as usize) {
            veil.is_awaited = true;
            veil.wait_for_room(id, ops);
        }
    }

    /// The engine is done with it: it goes when everything is out, and says so.
    pub(crate) fn close(&mut self, now: Instant, id: VeilId) {
        self.let_go(now, id, Owner::Nobody);
        if let Some(veil) = self.veils.get_mut(id.number() as usize) {
            veil.tls.send_close_notify();
        }
    }

    /// A desk goes on with it, when the socket has taken what was said so far.
    pub(crate) fn hand_over(&mut self, now: Instant, id: VeilId, hand_over: HandOver) {
        self.let_go(now, id, Owner::Guest(hand_over));
    }

    fn let_go(&mut self, now: Instant, id: VeilId, owner: Owner) {
        if let Some(veil) = self.veils.get_mut(id.number() as usize) {
            veil.owner = owner;
            self.leaving
                .push_back((now + LEAVE_WITHIN, id, veil.number));
            self.touched.push(id);
        }
    }

    /// Closes it at once.
    pub(crate) fn abort(&mut self, id: VeilId, ops: &mut Ops) {
        if let Some(veil) = self.veils.try_remove(id.number() as usize) {
            ops.abort(veil.file);
        }
    }

    /// Goes on with those the engine said something about.
    pub(crate) fn settle_touched(&mut self, now: Instant, engine: &mut Engine, ops: &mut Ops) {
        while let Some(id) = self.touched.pop() {
            self.settle(now, id, engine, ops);
        }
    }

    /// Cuts those that take too long to leave.
    pub(crate) fn cut_late(&mut self, now: Instant, ops: &mut Ops) {
        while let Some(&(until, id, number)) = self.leaving.front()
            && until <= now
        {
            self.leaving.pop_front();
            let veil = self.veils.get(id.number() as usize);
            if veil.is_some_and(|veil| veil.number == number) {
                self.abort(id, ops);
            }
        }
    }

    /// Those that may go to their desk, each once.
    pub(crate) fn next_guest(&mut self) -> Option<(File, HandOver, Box<Connection>)> {
        self.guests.pop()
    }

    /// Does what comes next, if nothing is under way.
    fn settle(&mut self, now: Instant, id: VeilId, engine: &mut Engine, ops: &mut Ops) {
        let Some(veil) = self.veils.get_mut(id.number() as usize) else {
            return;
        };
        if veil.is_full || veil.flight.is_some() {
            return;
        }
        match veil.owner {
            // What TLS has to say goes along.
            Owner::Guest(_) if veil.rest.is_empty() => {
                let veil = self.veils.remove(id.number() as usize);
                if let Owner::Guest(hand_over) = veil.owner {
                    self.guests.push((veil.file, hand_over, veil.tls));
                }
            }
            _ if !veil.rest.is_empty() || veil.tls.wants_write() => self.send_soon(id),
            Owner::Viewer(key) if std::mem::take(&mut veil.is_awaited) => engine.writable(now, key),
            Owner::Viewer(_) | Owner::Guest(_) => {}
            Owner::Nobody => {
                ops.close(veil.file);
                self.veils.remove(id.number() as usize);
            }
        }
    }

    fn send_soon(&mut self, id: VeilId) {
        if let Some(veil) = self.veils.get_mut(id.number() as usize)
            && !std::mem::replace(&mut veil.is_sending, true)
        {
            self.sending.push(id);
        }
    }
}

impl Veil {
    /// Encrypts the pieces; how many bytes of them.
    fn encrypt(&mut self, pieces: &[&[u8]]) -> usize {
        let pieces = pieces.iter().take(PIECES_MAX);
        let list: ArrayVec<_, PIECES_MAX> = pieces.map(|piece| IoSlice::new(piece)).collect();
        // Without a limit on its buffer it takes all; only the peer's goodbye makes it refuse, and then nothing is heard.
        self.tls.writer().write_vectored(&list).unwrap_or_default()
    }

    /// Lends to the ring what is to be sent, as far as there is room.
    fn launch<'d>(
        &mut self,
        id: VeilId,
        batch: &mut Batch<'_, 'd>,
        room: &mut Room<'d>,
        of_engine: Option<usize>,
    ) {
        let arena = std::mem::take(&mut room.rest);
        let size = arena.len();
        let mut free = &mut *arena;
        let kept = free.write(&self.rest).unwrap_or_default();
        self.rest.drain(..kept);
        if self.rest.is_empty() {
            self.rest = Vec::new(); // no memory is held while nothing waits
            while self.tls.wants_write() && self.tls.write_tls(&mut free).is_ok_and(|n| n > 0) {}
        }
        let bytes = size - free.len();
        let (drawn, free) = arena.split_at_mut(bytes);
        let at = room.at;
        (room.at, room.rest) = (at + bytes, free);
        if bytes > 0 {
            batch.send(self.file, token_of_veil(id), [&*drawn]);
            self.flight = Some(Flight {
                at,
                bytes,
                of_engine,
            });
        }
    }

    fn wait_for_room(&mut self, id: VeilId, ops: &mut Ops) {
        self.is_full = true;
        ops.poll_writable(self.file, token_of_veil(id));
    }
}

/// What a piece of ciphertext brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    /// More may follow.
    More,
    /// The peer has said goodbye.
    End,
}

/// Decrypts what came and appends it to `heard`.
///
/// # Errors
/// The peer broke TLS, or does not speak it. What it is to be told waits to be written.
pub(crate) fn decrypt(
    tls: &mut Connection,
    mut bytes: &[u8],
    heard: &mut Vec<u8>,
) -> Result<Heard, rustls::Error> {
    while !bytes.is_empty() {
        let full = |_: io::Error| rustls::Error::General("more than one record at a time".into());
        let taken = tls.read_tls(&mut bytes).map_err(full)?;
        let state = tls.process_new_packets()?;
        let mut reader = tls.reader();
        while let Ok(chunk) = reader.fill_buf()
            && !chunk.is_empty()
        {
            heard.extend_from_slice(chunk);
            let size = chunk.len();
            reader.consume(size);
        }
        if state.peer_has_closed() || taken == 0 {
            return Ok(Heard::End);
        }
    }
    Ok(Heard::More)
}

/// Room a send may need: its records (5 bytes and 17 to 24 for each 16 KiB) and what TLS itself may have to say.
fn covered(bytes: usize) -> usize {
    bytes + bytes / 256 + (8 << 10)
}

/// How long the last bytes of a connection may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// What a connection may say while its last answers are on their way.
const GUEST_BYTES_MAX: usize = 256 << 10;
/// What players say is small.
const HEARD_BYTES_USUAL: usize = 64 << 10;
/// Linux, `errno.h`: the socket is full.
const EAGAIN: i32 = 11;
