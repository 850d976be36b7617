//! The groups of one shard: the engine's multicast sender and its sockets.
//!
//! Groups are dealt to shards by number, a socket each. Beside the engine they are one more source of sends in a turn.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crossbeam::channel::Sender;
use funnel_channel::Channel;
use funnel_control::config::{ChannelConfig, ChannelMulticast, Interface};
use funnel_control::links;
use funnel_engine::{GroupCounters, GroupPlan, GroupReport, GroupSend, Groups};
use funnel_uring::net::{self, GroupOptions};
use funnel_uring::{Batch, Completion, File, Ring};
use funnel_wire::msb::Span;
use socket2::Socket;
use tracing::{info, warn};

use crate::announce::{self, Board, Changed, Notice};
use crate::settings::Settings;

/// A group to be, with its socket.
pub struct Seat {
    socket: Socket,
    plan: GroupPlan,
    /// The channel's place among the announcer's notices.
    notice: usize,
    name: String,
    address: SocketAddr,
    announcer: Sender<Changed>,
}

/// The groups of a shard.
pub(crate) struct ShardGroups {
    pub(crate) groups: Groups,
    pub(crate) sockets: GroupSockets,
}

/// Their sockets, by the engine's number.
pub(crate) struct GroupSockets(Vec<Place>);

struct Place {
    file: File,
    notice: usize,
    name: String,
    address: SocketAddr,
    announcer: Sender<Changed>,
}

/// The groups of all workers, dealt by number, with whoever announces them on `board` and in files. `host` and `port` are where
/// players find the server.
///
/// # Errors
/// The sentence for the operator, about the first group that cannot be sent to.
pub fn deal(
    settings: &Settings,
    channels: &[Arc<Channel>],
    host: &str,
    port: u16,
    board: &Board,
) -> Result<Vec<Vec<Seat>>, String> {
    let config = &settings.config;
    let mut of_workers: Vec<Vec<Seat>> = (0..settings.workers).map(|_| Vec::new()).collect();
    let sent: Vec<_> = config
        .channels
        .iter()
        .zip(channels)
        .filter_map(|(channel, shared)| Some((channel, shared, channel.multicast.as_ref()?)))
        .collect();
    if sent.is_empty() {
        return Ok(of_workers);
    }
    let notice = |(channel, _, multicast): &(&ChannelConfig, _, &ChannelMulticast)| {
        let url = links::url("mms", host, port, &channel.name);
        let folder = config.multicast.nsc_directory.as_deref();
        Notice::new(channel, multicast, host, url, folder)
    };
    let announcer = announce::start(sent.iter().map(notice).collect(), board.clone())
        .map_err(|error| format!("no thread for the announcements: {error}"))?;
    for (notice, (_, shared, multicast)) in sent.into_iter().enumerate() {
        let seat = Seat::open(shared, multicast, notice, announcer.clone())?;
        of_workers[notice % settings.workers.max(1)].push(seat);
    }
    Ok(of_workers)
}

impl Seat {
    /// Opens the socket of a channel's group.
    ///
    /// # Errors
    /// The sentence for the operator.
    fn open(
        channel: &Arc<Channel>,
        multicast: &ChannelMulticast,
        notice: usize,
        announcer: Sender<Changed>,
    ) -> Result<Self, String> {
        let name = channel.name().to_owned();
        let address = multicast.address;
        let socket = socket(multicast).map_err(|error| {
            format!("channel {name} cannot be sent to {address}: {error}; see [channels.NAME.multicast] interface")
        })?;
        let plan = GroupPlan {
            channel: Arc::clone(channel),
            span: Span::new(multicast.span.into()),
        };
        Ok(Self {
            socket,
            plan,
            notice,
            name,
            address,
            announcer,
        })
    }
}

fn socket(multicast: &ChannelMulticast) -> io::Result<Socket> {
    let interface = multicast.interface.as_ref().map(find).transpose()?;
    let options = GroupOptions {
        interface,
        ttl: multicast.ttl,
        // Receivers on this machine are receivers; without any the kernel has no work with it.
        loopback: true,
        source: announce::source(multicast),
    };
    net::group_sender(multicast.address, &options)
}

/// The network interface that is meant.
///
/// # Errors
/// This machine has none such, in a sentence.
pub fn find(interface: &Interface) -> io::Result<net::Interface> {
    match interface {
        Interface::Name(name) => net::Interface::find(name),
        Interface::Address(address) => net::Interface::find(&address.to_string()),
    }
}

impl ShardGroups {
    /// Hands the sockets to the ring.
    pub(crate) fn open(seats: Vec<Seat>, ring: &mut Ring, now: Instant) -> io::Result<Self> {
        let (mut plans, mut places) = (Vec::new(), Vec::new());
        for seat in seats {
            plans.push(seat.plan);
            places.push(Place {
                file: ring.open_datagrams(seat.socket)?,
                notice: seat.notice,
                name: seat.name,
                address: seat.address,
                announcer: seat.announcer,
            });
        }
        Ok(Self {
            groups: Groups::new(plans, now),
            sockets: GroupSockets(places),
        })
    }

    /// Takes the answer to a send of its own; false: it is the engine's to take.
    pub(crate) fn take(&mut self, completion: &Completion<'_>) -> bool {
        if let Completion::Sent { token, result } = *completion
            && let Some(group) = group_of(token)
        {
            self.groups.sent(group, result);
            return true;
        }
        false
    }

    /// Logs and announces what there is.
    pub(crate) fn tell(&mut self) {
        for report in self.groups.reports() {
            self.sockets.tell(report);
        }
    }

    /// The last lines.
    pub(crate) fn finish(&self) {
        for (place, counters) in self.sockets.0.iter().zip(self.groups.counters()) {
            let GroupCounters {
                packets,
                parity,
                beacons,
                bytes,
                skipped,
                unfit,
                unsent,
            } = counters;
            info!(
                channel = place.name,
                group = %place.address,
                packets, parity, beacons, bytes, skipped, unfit, unsent,
                "totals of a group"
            );
        }
    }
}

impl GroupSockets {
    /// Lends a datagram to the ring.
    pub(crate) fn send<'d>(&self, batch: &mut Batch<'_, 'd>, send: &GroupSend<'_, 'd>) {
        if let Some(place) = self.0.get(send.group as usize) {
            let pieces = send.pieces.iter().copied();
            batch.send_to(place.file, token(send.group), place.address.into(), pieces);
        }
    }

    fn tell(&self, report: GroupReport) {
        let (GroupReport::Headers { group, .. }
        | GroupReport::Refused { group, .. }
        | GroupReport::Unfit { group }
        | GroupReport::Unsent { group, .. }) = report;
        let Some(place) = self.0.get(group as usize) else {
            return;
        };
        let (channel, group) = (&place.name, place.address);
        match report {
            GroupReport::Headers { formats, .. } => {
                let notice = place.notice;
                // The announcer lives as long as somebody can tell it something.
                let _ = place.announcer.send(Changed { notice, formats });
            }
            GroupReport::Refused { error, .. } => {
                warn!(channel, %group, %error, "the header cannot be announced; nothing is sent to the group until the next");
            }
            GroupReport::Unfit { .. } => {
                warn!(channel, %group, "packets are too large for UDP and are left out; let the encoder make smaller ones");
            }
            GroupReport::Unsent { count, errno, .. } => {
                let error = io::Error::from_raw_os_error(errno);
                match error.kind() {
                    io::ErrorKind::NetworkUnreachable => {
                        warn!(channel, %group, count, "datagrams to the group were not sent: no route leads there; name an `interface`");
                    }
                    _ => {
                        warn!(channel, %group, count, %error, "datagrams to the group were not sent");
                    }
                }
            }
        }
    }
}

/// The ring's name for a send to a group. Those of viewers have this bit clear.
fn token(group: u32) -> u64 {
    OF_GROUP | u64::from(group)
}

/// The group whose send this was, if it was one.
fn group_of(token: u64) -> Option<u32> {
    // The lower half is what `token` put there.
    (token & OF_GROUP != 0).then_some(token as u32)
}

const OF_GROUP: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_groups_are_their_own() {
        for group in [0, 7, u32::MAX] {
            assert_eq!(group_of(token(group)), Some(group));
        }
        assert_eq!(group_of(u64::from(u32::MAX)), None);
        assert_eq!(group_of(u64::MAX >> 1), None);
    }
}
