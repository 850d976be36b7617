//! Viewers whose media goes over UDP: what they need besides, how they come and go, and what the kernel's refusals mean.
//!
//! Every datagram goes to the address the control connection comes from; only the port is the player's choice. A refusal
//! never ends a session: what the kernel had no room for is sent a tick later, what it does not cut into datagrams is sent
//! packet by packet from then on, and anything else is lost like a packet on the way.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use funnel_session::server::{Play, Transport};

use crate::engine::{Action, Engine};
use crate::errno::{EAGAIN, EINVAL, EIO, EMSGSIZE, ENOBUFS, EOPNOTSUPP};
use crate::report::Report;
use crate::resend::{Budget, RESENDS_WAITING_MAX};
use crate::trail::{Piece, Trail};
use crate::viewer::{Carriage, Flight, Hot, Key, Train, Viewer};

/// What an engine may do over UDP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UdpLimits {
    /// Largest payload of one unfragmented datagram over IPv4, bytes: the MTU less 28.
    pub payload_max_v4: u16,
    /// The same over IPv6: the MTU less 48.
    pub payload_max_v6: u16,
    /// Packets this engine sends again at most, a second.
    pub resends_per_second: u32,
}

impl Default for UdpLimits {
    /// For Ethernet.
    fn default() -> Self {
        Self {
            payload_max_v4: 1472,
            payload_max_v6: 1452,
            resends_per_second: 10_000,
        }
    }
}

/// What a steady train over UDP needs of a viewer besides [`Hot`]: one cache line in a table of its own.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Lane {
    pub(crate) to: SocketAddr,
    /// When the burst it is in began.
    burst_began: Instant,
    /// Packets of it that are out.
    burst_packets: u16,
    /// Largest packet, head included, of which several go in one send; 0: none does.
    pub(crate) segment_max: u16,
    /// The newest piece of its trail, while trains that go straight on need not be noted there.
    pub(crate) piece: Piece,
}

const _: () = assert!(size_of::<Lane>() == 64);

/// What a viewer needs besides while its media goes over UDP.
#[derive(Debug)]
pub(crate) struct Udp {
    pub(crate) trail: Trail,
    /// Messages wait until then: the socket's buffer was full.
    pub(crate) refused_until: Option<Instant>,
    /// The log of a run that came to its end, kept as long as its last packets may be asked for.
    held: Option<u32>,
    pub(crate) budget: Budget,
    /// Sequence numbers of packets to send again, oldest request first.
    pub(crate) resends: ArrayVec<u32, RESENDS_WAITING_MAX>,
}

// DESIGN: a viewer costs at most 4 KiB of resident memory, heap parts included.
const _: () = assert!(size_of::<Udp>() <= 1280);

impl Udp {
    fn new(now: Instant) -> Self {
        Self {
            trail: Trail::default(),
            refused_until: None,
            held: None,
            budget: Budget::of_viewer(0, now),
            resends: ArrayVec::new(),
        }
    }
}

impl Lane {
    fn new(to: SocketAddr, segment_max: u16, now: Instant) -> Self {
        Self {
            to,
            burst_began: now,
            burst_packets: 0,
            segment_max,
            piece: Piece::NONE,
        }
    }

    /// Packets that may go out now, when `burst_max` may at once.
    pub(crate) fn allowance(&mut self, now: Instant, burst_max: u16) -> u16 {
        if now.saturating_duration_since(self.burst_began) >= BURST_GAP {
            self.burst_began = now;
            self.burst_packets = 0;
        }
        burst_max.max(1).saturating_sub(self.burst_packets)
    }

    /// Notes what went out.
    pub(crate) fn spend(&mut self, packets: u32) {
        let packets = u16::try_from(packets).unwrap_or(u16::MAX);
        self.burst_packets = self.burst_packets.saturating_add(packets);
    }

    /// When the next burst may begin.
    pub(crate) fn next_burst(&self) -> Instant {
        self.burst_began + BURST_GAP
    }
}

impl Engine {
    /// A player chose how its header and media travel.
    pub(crate) fn on_transport(&mut self, index: u32, transport: Transport, now: Instant) {
        self.drop_udp(index);
        let Transport::Udp { port } = transport else {
            return;
        };
        let limits = self.config.udp;
        let viewer = &mut self.viewers[index as usize];
        let mut to = viewer.peer;
        to.set_port(port);
        let segment_max = if to.is_ipv4() {
            limits.payload_max_v4
        } else {
            limits.payload_max_v6
        };
        viewer.udp = Some(Box::new(Udp::new(now)));
        let lane = Lane::new(to, segment_max, now);
        if self.lanes.len() <= index as usize {
            self.lanes.resize(index as usize + 1, lane);
        }
        self.lanes[index as usize] = lane;
        let generation = self.hot[index as usize].generation;
        self.actions
            .push(Action::Datagrams(Key { index, generation }));
        // Two with the same id are as unlikely as they are harmless: the later one's requests fail.
        self.clients
            .entry(viewer.session.client_id())
            .or_insert(index);
    }

    /// Lets go what a viewer has of UDP.
    pub(crate) fn drop_udp(&mut self, index: u32) {
        self.forget_sent(index);
        let viewer = &mut self.viewers[index as usize];
        if viewer.udp.take().is_some() {
            viewer.control.forget_datagrams(&mut self.buffers);
            let hot = &mut self.hot[index as usize];
            if hot.flight == Flight::Datagram {
                hot.flight = Flight::Resend; // of which none waits: the kernel's answer changes nothing
            }
            self.expect_no_orders(index);
        }
    }

    /// A run over UDP begins.
    pub(crate) fn begin_datagrams(&mut self, index: u32, play: &Play, now: Instant) {
        let viewer = &mut self.viewers[index as usize];
        let (Some(udp), Some(open)) = (&mut viewer.udp, &viewer.open) else {
            return;
        };
        let packet_bytes = open.epoch.packet_bytes;
        udp.budget = Budget::of_viewer(open.epoch.bit_rate / 8 / packet_bytes.max(1), now);
        let mut head = Default::default();
        let head_bytes = play.framing.head(0, 0, 0, &mut head);
        let limits = self.config.udp;
        let payload_max = limits.payload_max_v4.min(limits.payload_max_v6);
        let fitting_bytes = u32::from(payload_max).saturating_sub(head_bytes as u32);
        let station = &mut self.stations[open.station as usize];
        if packet_bytes > fitting_bytes && !std::mem::replace(&mut station.told_of_fragments, true)
        {
            self.reports.push(Report::Fragments {
                channel: station.served.channel.name().to_owned(),
                packet_bytes,
                fitting_bytes,
            });
        }
    }

    /// Nothing that was sent to a viewer is sent to it again.
    pub(crate) fn forget_sent(&mut self, index: u32) {
        if let Some(udp) = &mut self.viewers[index as usize].udp {
            self.lanes[index as usize].piece = Piece::NONE;
            udp.trail.clear();
            udp.resends.clear();
            if let Some(feed) = udp.held.take() {
                self.feeds.release(feed);
            }
        }
    }

    /// Keeps the log of a run that its player did not stop: its last packets may yet be asked for again.
    pub(crate) fn hold_sent(&mut self, index: u32) {
        self.settle_trail(index);
        if let Some(udp) = &mut self.viewers[index as usize].udp {
            debug_assert_eq!(udp.held, None);
            udp.held = self.hot[index as usize].feed.take();
        }
    }

    /// Writes down to where the newest piece of a viewer's trail has come, before anybody looks.
    pub(crate) fn settle_trail(&mut self, index: u32) {
        if let Some(udp) = &mut self.viewers[index as usize].udp {
            let sequence = self.hot[index as usize].run.sequence;
            udp.trail
                .settle(&mut self.lanes[index as usize].piece, sequence);
        }
    }

    /// Whether what the kernel answers for went over UDP.
    pub(crate) fn is_datagram(&self, index: u32) -> bool {
        let hot = &self.hot[index as usize];
        match hot.flight {
            Flight::None | Flight::Cut | Flight::Control => false,
            Flight::Datagram | Flight::Resend => true,
            Flight::Steady(_) => hot.carriage == Carriage::Datagrams,
            Flight::Noted => {
                (self.viewers[index as usize].train).is_some_and(|train| train.datagrams)
            }
        }
    }

    /// The kernel did not take what went over UDP.
    pub(crate) fn datagrams_refused(&mut self, index: u32, errno: i32, now: Instant) {
        let hot = &mut self.hot[index as usize];
        let viewer = &mut self.viewers[index as usize];
        viewer.note_train(hot);
        let flight = std::mem::replace(&mut hot.flight, Flight::None);
        let train = viewer.train.take().filter(|_| flight == Flight::Noted);
        let cut = train.is_some_and(|train| train.packets > 1);
        let again_at = match errno {
            EAGAIN | ENOBUFS => Some(now + RETRY),
            // Kernels before 6.14 say EINVAL of datagrams above the MTU.
            EMSGSIZE | EINVAL if cut => {
                if viewer.udp.is_some() {
                    self.lanes[index as usize].segment_max = 0;
                    self.counters.plain_viewers += 1;
                }
                Some(now)
            }
            EIO | EOPNOTSUPP if cut => {
                if std::mem::take(&mut self.segments) {
                    self.reports.push(Report::SegmentationOff { errno });
                }
                Some(now)
            }
            _ => None,
        };
        match (train, again_at) {
            (Some(train), Some(at)) => {
                let lane = self.lanes.get_mut(index as usize);
                take_back(hot, viewer, lane, &train, at);
                self.counters.datagram_sends -= 1;
                self.counters.datagrams -= u64::from(train.packets);
            }
            (Some(train), None) => self.counters.datagrams_lost += u64::from(train.packets),
            (None, Some(at)) => {
                if let Some(udp) = &mut viewer.udp {
                    udp.refused_until = Some(at);
                }
            }
            (None, None) => {
                viewer.drop_first_datagram(flight, &mut self.buffers);
                self.counters.datagrams_lost += 1;
            }
        }
        self.counters.datagram_retries += u64::from(again_at.is_some());
        self.queue(index);
    }
}

/// The viewer stands again where it stood before the train, and visits again at a time.
fn take_back(
    hot: &mut Hot,
    viewer: &mut Viewer,
    lane: Option<&mut Lane>,
    train: &Train,
    at: Instant,
) {
    match &mut viewer.media {
        // Another run already: it begins with the number of the packet that was not sent.
        Some(_) if train.stopped => {
            hot.run.sequence = hot.run.framing.first_sequence(train.start.sequence);
        }
        Some(media) => {
            hot.run = train.start;
            hot.next_visit = at;
            media.drained = false;
            if let (Some(udp), Some(lane)) = (&mut viewer.udp, lane) {
                lane.burst_packets = 0;
                udp.trail.take_back(&mut lane.piece, train.start);
            }
        }
        None => hot.run.sequence = train.start.sequence,
    }
}

/// Time between two bursts to one viewer: the granularity of the engine's timers.
const BURST_GAP: Duration = Duration::from_millis(5);
/// After which the kernel is asked again that had no room: the same.
const RETRY: Duration = Duration::from_millis(5);
