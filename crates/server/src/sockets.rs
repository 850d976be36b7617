//! The ring's files behind the engine's keys, and the names that completions come back with.

use std::io;
use std::net::{IpAddr, SocketAddr};

use funnel_engine::{Key, Outgoing};
use funnel_uring::net;
use funnel_uring::{Batch, File, Ops, Ring, Target};

use crate::listen::{Kind, Listener};
use crate::veil::{Room, VeilId, Veils};

/// A shard's sockets.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// Connection of each viewer, by the engine's index.
    viewers: Vec<Option<Connection>>,
    /// By the number of their listener.
    ports: Vec<Port>,
    /// UDP sockets as ordinary descriptors, which can be asked what the kernel dropped.
    askable: Vec<socket2::Socket>,
}

/// A listener, and what stands beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    pub(crate) kind: Kind,
    /// The UDP socket for its viewers: its own, else one of the same family.
    datagrams: Option<File>,
    /// It listens on all addresses of the machine, so its datagrams have to be told which of them to leave from.
    is_everywhere: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) file: File,
    /// Which listener accepted it: its datagrams leave from there.
    pub(crate) listener: u16,
    /// What is between it and the engine, if it came over TLS.
    pub(crate) veil: Option<VeilId>,
    /// Which address its datagrams leave from; `None`: the listener's only one, or not known.
    pub(crate) source: Option<IpAddr>,
}

// A send looks at one of these: two lie in a cache line.
const _: () = assert!(size_of::<Option<Connection>>() == 32);

impl Sockets {
    /// Accepts on the listeners, each named by its place in the list, and receives on their UDP sockets.
    pub(crate) fn open(listeners: Vec<Listener>, ring: &mut Ring) -> io::Result<Self> {
        let mut sockets = Self::default();
        let mut addresses = Vec::new();
        for (number, listener) in listeners.into_iter().enumerate() {
            if let Some(socket) = &listener.datagrams {
                sockets.askable.push(socket.try_clone()?);
            }
            let address = listener.connections.local_addr()?.as_socket();
            ring.listen(listener.connections, number as u64, ACCEPTS_ARMED);
            let datagrams = listener
                .datagrams
                .map(|socket| ring.open_datagrams(socket))
                .transpose()?;
            if let Some(file) = datagrams {
                ring.ops().receive_datagrams(file, OF_DATAGRAMS);
            }
            sockets.ports.push(Port {
                kind: listener.kind,
                datagrams,
                is_everywhere: address.is_some_and(|address| address.ip().is_unspecified()),
            });
            addresses.push(address);
        }
        sockets.share_datagrams(&addresses);
        Ok(sockets)
    }

    /// A port without UDP, such as one for HTTP that a player of MMS has found, uses that of another.
    fn share_datagrams(&mut self, addresses: &[Option<SocketAddr>]) {
        let is_ipv4 = |port: usize| addresses[port].map(|address| address.is_ipv4());
        let own = self.ports.clone();
        for (number, port) in self.ports.iter_mut().enumerate() {
            let of_family = |&other: &usize| {
                own[other].datagrams.is_some() && is_ipv4(other) == is_ipv4(number)
            };
            if port.datagrams.is_none()
                && port.kind != Kind::Https // who encrypts is not given media in the open
                && let Some(other) = (0..own.len()).find(of_family)
            {
                (port.datagrams, port.is_everywhere) =
                    (own[other].datagrams, own[other].is_everywhere);
            }
        }
    }

    pub(crate) fn port(&self, listener: u16) -> Option<Port> {
        self.ports.get(usize::from(listener)).copied()
    }

    /// The engine knows a connection by this key from now on.
    pub(crate) fn add(&mut self, key: Key, connection: Connection) {
        let index = key.index as usize;
        if self.viewers.len() <= index {
            self.viewers.resize(index + 1, None);
        }
        self.viewers[index] = Some(connection);
    }

    pub(crate) fn get(&self, key: Key) -> Option<Connection> {
        self.viewers.get(key.index as usize).copied().flatten()
    }

    /// The engine does not know it any more.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Connection> {
        self.viewers.get_mut(key.index as usize)?.take()
    }

    /// Datagrams the kernel dropped: garbage, and what a flood was too much of.
    pub(crate) fn dropped(&self) -> u64 {
        let counts = self.askable.iter().map(net::datagrams_dropped);
        counts.flatten().sum()
    }

    /// Lends a send of the engine's to the ring.
    #[inline]
    pub(crate) fn send<'d>(
        &self,
        batch: &mut Batch<'_, 'd>,
        veils: &mut Veils,
        room: &mut Room<'d>,
        send: &Outgoing<'_, 'd>,
    ) {
        let Some(connection) = self.get(send.key) else {
            return;
        };
        let (token, pieces) = (token(send.key), send.pieces.iter().copied());
        match (send.datagrams, connection.veil) {
            (None, None) => batch.send(connection.file, token, pieces),
            (None, Some(veil)) => veils.send(veil, batch, room, send),
            (Some(how), _) => {
                let port = self.port(connection.listener);
                let Some(file) = port.and_then(|port| port.datagrams) else {
                    return room.answers.push((send.key, -ENETUNREACH));
                };
                let target = Target {
                    to: how.to,
                    source: connection.source,
                    segment_bytes: how.segment_bytes,
                };
                batch.send_to(file, token, target, pieces);
            }
        }
    }

    /// Asks which address a viewer called, if its datagrams might otherwise leave from another one. The answer comes with the next
    /// drain; only of a player who asks for the header before it was told that UDP is granted, a datagram may leave before that.
    pub(crate) fn ask_source(&self, key: Key, ops: &mut Ops) {
        let Some(connection) = self.get(key) else {
            return;
        };
        let port = self.port(connection.listener);
        if connection.source.is_none() && port.is_some_and(|port| port.is_everywhere) {
            ops.ask_local_address(connection.file, token(key));
        }
    }

    pub(crate) fn set_source(&mut self, key: Key, address: Option<SocketAddr>) {
        if let Some(Some(connection)) = self.viewers.get_mut(key.index as usize) {
            connection.source = address.map(|address| address.ip());
        }
    }
}

/// Whom a completion on a connection concerns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Named {
    /// A viewer on a plain connection.
    Viewer(Key),
    /// What is between a connection and its viewer.
    Veil(VeilId),
    /// A connection on its way to a desk, by number.
    Visitor(u32),
}

/// The ring's name for a viewer's connection. The highest bit is clear ([`Key::GENERATION_MAX`]), and so are two of the index, which
/// is below the number of files a ring can have.
pub(crate) fn token(key: Key) -> u64 {
    debug_assert!(key.index & (OF_VEIL | OF_VISITOR) == 0);
    u64::from(key.generation) << 32 | u64::from(key.index)
}

/// The ring's name for a connection behind a veil.
pub(crate) fn token_of_veil(veil: VeilId) -> u64 {
    u64::from(OF_VEIL | veil.number())
}

/// The ring's name for a connection that is being handed over.
pub(crate) fn token_of_visitor(number: u32) -> u64 {
    u64::from(OF_VISITOR | number)
}

/// Whose name it is.
pub(crate) fn named(token: u64) -> Named {
    let low = token as u32; // what the functions above put there
    if low & (OF_VEIL | OF_VISITOR) == 0 {
        Named::Viewer(Key {
            index: low,
            generation: (token >> 32) as u32,
        })
    } else if low & OF_VEIL != 0 {
        Named::Veil(VeilId::new(low & !OF_VEIL))
    } else {
        Named::Visitor(low & !OF_VISITOR)
    }
}

const OF_VEIL: u32 = 1 << 31;
const OF_VISITOR: u32 = 1 << 30;

/// The ring's name for every UDP socket beside a listener. Sends from there have their viewer's name.
pub(crate) const OF_DATAGRAMS: u64 = u64::MAX;

/// Accepts armed per listener.
const ACCEPTS_ARMED: u16 = 64;
/// Linux, `errno.h`: there is no way to send it.
const ENETUNREACH: i32 = 101;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_are_different_and_lead_back() {
        let mut tokens = vec![OF_DATAGRAMS];
        for index in [0, OF_VISITOR - 1] {
            for generation in [0, Key::GENERATION_MAX] {
                let viewer = Key { index, generation };
                assert_eq!(named(token(viewer)), Named::Viewer(viewer));
                tokens.push(token(viewer));
            }
            let veil = VeilId::new(index);
            assert_eq!(named(token_of_veil(veil)), Named::Veil(veil));
            assert_eq!(named(token_of_visitor(index)), Named::Visitor(index));
            tokens.extend([token_of_veil(veil), token_of_visitor(index)]);
        }
        let count = tokens.len();
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(tokens.len(), count);
    }
}
