//! UDP (§4): where header and media go, how fast the header goes, and what an address gets before it has shown that it
//! receives.
//!
//! A player sends no datagram, so whether its port is open, and its own, shows only on the control connection: by a
//! StreamSwitch or StartPlaying after a whole header was handed out. Until then its address gets at most
//! [`HEADERS_MAX`] headers and one packet pair in the life of a connection, whatever ports it names. The address itself is
//! that of the TCP peer: the owner sees to it, no session knows one.

use std::time::{Duration, Instant};

use funnel_wire::mms::{
    Incarnation, Mid, PAIR_PAYLOAD_BYTES, ReadBlock, ReportReadBlock, Transport, pair_header,
};
use zerocopy::IntoBytes;

use super::fragments::Fragments;
use super::refusal::Refusal;
use super::session::{Session, State};
use super::{Event, Opened, Settings, SplitMix};

/// What there is to know while data travels over UDP.
#[derive(Debug)]
pub(super) struct Udp {
    port: u16,
    /// What is left of the header that is being sent.
    header: Option<Fragments>,
    /// When the next fragment may go.
    next_at: Instant,
    /// The player has shown that it receives.
    proven: bool,
}

/// What may still go to an address that has shown nothing.
#[derive(Debug)]
pub(super) struct Allowance {
    headers: u8,
    pair: Pair,
}

/// Packet pair over UDP (§4.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pair {
    NotAsked,
    Asked,
    Sent,
}

impl Session {
    pub(super) fn transport(&self) -> Transport {
        self.udp
            .as_deref()
            .map_or(Transport::Tcp, |udp| Transport::Udp { port: udp.port })
    }

    /// Header and media go this way from now on. A new port has shown nothing yet.
    pub(super) fn set_transport(&mut self, now: Instant, transport: Transport) {
        if transport == self.transport() {
            return;
        }
        self.cancel_header();
        self.outbox.forget_header();
        self.udp = match transport {
            Transport::Tcp => None,
            Transport::Udp { port } => Some(Box::new(Udp {
                port,
                header: None,
                next_at: now,
                proven: false,
            })),
        };
        self.outbox.event(Event::Transport(transport));
    }

    /// FunnelInfo asked for a packet pair over UDP, or not: what to answer.
    pub(super) fn ask_pair(&mut self, asked: bool) -> Incarnation {
        let pair = &mut self.allowance.pair;
        *pair = match *pair {
            Pair::Sent => Pair::Sent,
            _ if asked && self.settings.udp => Pair::Asked,
            _ => Pair::NotAsked,
        };
        match pair {
            Pair::Asked => Incarnation::PACKET_PAIR_UDP,
            Pair::NotAsked | Pair::Sent => Incarnation::NO_PACKET_PAIR,
        }
    }

    /// §4.5, §5.12 over UDP: the pair if it was agreed, the report, the header at its own pace.
    pub(super) fn read_block_over_udp(&mut self, now: Instant, message: &ReadBlock) {
        let play_incarnation = message.play_incarnation;
        let (State::Serving(serving), Some(udp)) = (&self.state, &mut self.udp) else {
            return;
        };
        if !udp.proven {
            let Some(left) = self.allowance.headers.checked_sub(1) else {
                return self.strike(now, Mid::READ_BLOCK, play_incarnation, Refusal::Mute);
            };
            self.allowance.headers = left;
        }
        udp.header = Some(datagrams(
            &self.settings,
            &serving.content,
            play_incarnation,
        ));
        if self.allowance.pair == Pair::Asked {
            self.allowance.pair = Pair::Sent;
            let mut random = SplitMix(self.nonce);
            for index in 0..2 {
                let mut pair = pair_header(index).as_bytes().to_vec();
                pair.extend(random.bytes(PAIR_PAYLOAD_BYTES));
                self.outbox.datagram(pair, false);
            }
        }
        self.outbox.message(ReportReadBlock {
            play_incarnation,
            ..ReportReadBlock::default()
        });
        self.on_fragment_due(now);
    }

    /// Sends the next fragment of the header if its time has come.
    pub(super) fn on_fragment_due(&mut self, now: Instant) {
        let (State::Serving(serving), Some(udp)) = (&self.state, &mut self.udp) else {
            return;
        };
        let Some(fragments) = udp.header.as_mut().filter(|_| udp.next_at <= now) else {
            return;
        };
        let mut bytes = Vec::new();
        let more = fragments.next(&mut bytes);
        udp.next_at = now + pause_after(bytes.len(), &serving.content);
        if !more {
            udp.header = None;
        }
        self.outbox.datagram(bytes, !more);
    }

    /// When the next fragment of a header is due.
    pub(super) fn fragment_due(&self) -> Option<Instant> {
        let udp = self.udp.as_deref()?;
        udp.header.as_ref().map(|_| udp.next_at)
    }

    /// Forgets what of a header was not handed out.
    pub(super) fn cancel_header(&mut self) {
        self.outbox.cancel_header();
        if let Some(udp) = &mut self.udp {
            udp.header = None;
        }
    }

    /// A request that only a player with a header sends. Returns false if it cannot have one: none was handed out yet.
    pub(super) fn has_proof(&mut self) -> bool {
        let Some(udp) = &mut self.udp else {
            return true;
        };
        if !udp.proven && self.outbox.header_is_out() {
            udp.proven = true;
            self.allowance = Allowance::default();
        }
        udp.proven
    }
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            headers: HEADERS_MAX,
            pair: Pair::NotAsked,
        }
    }
}

/// A header in parts that no router cuts.
fn datagrams(settings: &Settings, content: &Opened, play_incarnation: Incarnation) -> Fragments {
    Fragments::new(
        content.header.clone(),
        content
            .packet_bytes
            .min(u32::from(settings.udp_payload_max)),
        play_incarnation.tag(),
    )
}

/// §3.3: no faster than the content. Slower than [`HEADER_TIME_MAX`] for the whole would help nobody.
fn pause_after(bytes: usize, content: &Opened) -> Duration {
    let at_its_rate =
        Duration::from_secs_f64(8.0 * bytes as f64 / f64::from(content.bit_rate.max(1)));
    let share = bytes as f64 / content.header.len().max(bytes) as f64;
    at_its_rate.min(HEADER_TIME_MAX.mul_f64(share))
}

/// Headers for an address that has shown nothing: the first, and twice the four retries of a player whose header timer
/// ran out (§7.3).
const HEADERS_MAX: u8 = 9;
/// Time a header may take, however slow its content: players wait for 30 s at most (§7.3).
const HEADER_TIME_MAX: Duration = Duration::from_secs(25);
