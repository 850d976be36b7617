//! Connections that are no viewer's: out of the ring, to the desk that goes on with them.
//!
//! What comes between the engine's word and the ring's last is kept with what the session has read. A desk that is full turns
//! visitors away: the connection is closed.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Instant;

use funnel_ingest::Visitor;
use funnel_session::server::{Desk, HandOver};
use funnel_uring::{File, Ops};
use rustls::Connection;
use slab::Slab;
use tokio::sync::mpsc::Sender;

use crate::report::Reporter;
use crate::sockets::token_of_visitor;
use crate::veil::decrypt;

/// Who takes visitors.
#[derive(Clone, Debug)]
pub struct Desks {
    /// Encoders that push.
    pub ingest: Sender<Visitor>,
    /// Browsers, and players that look for an announcement or a playlist.
    pub pages: Sender<Visitor>,
}

/// A shard's connections on their way out.
#[derive(Debug, Default)]
pub(crate) struct Visitors(Slab<Guest>);

#[derive(Debug)]
struct Guest {
    hand_over: HandOver,
    tls: Option<Box<Connection>>,
    /// It broke TLS on the way.
    is_broken: bool,
}

impl Visitors {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a connection out of the ring; the engine and the veils do not know it any more.
    pub(crate) fn lead_out(
        &mut self,
        file: File,
        hand_over: HandOver,
        tls: Option<Box<Connection>>,
        ops: &mut Ops,
    ) {
        let guest = Guest {
            hand_over,
            tls,
            is_broken: false,
        };
        // No more of them than files, which are far fewer than 2³⁰.
        let number = self.0.insert(guest) as u32;
        ops.hand_over(file, token_of_visitor(number));
    }

    /// It said more before it was out.
    pub(crate) fn received(&mut self, number: u32, bytes: &[u8]) {
        let Some(guest) = self.0.get_mut(number as usize) else {
            return;
        };
        let received = &mut guest.hand_over.received;
        match &mut guest.tls {
            None => received.extend_from_slice(bytes),
            Some(tls) => guest.is_broken |= decrypt(tls, bytes, received).is_err(),
        }
    }

    /// It is out, or closed because that is not possible.
    pub(crate) fn arrived(
        &mut self,
        number: u32,
        socket: io::Result<OwnedFd>,
        desks: &Desks,
        reporter: &mut Reporter,
        now: Instant,
    ) {
        let Some(guest) = self.0.try_remove(number as usize) else {
            return;
        };
        let to = guest.hand_over.to;
        let socket = match socket {
            Ok(socket) => TcpStream::from(socket),
            Err(error) => return reporter.not_handed_over(&error, now),
        };
        // Fails for who has gone meanwhile.
        let Ok(visitor) = guest.into_visitor(socket) else {
            return;
        };
        let desk = match to {
            Desk::Ingest => &desks.ingest,
            Desk::Pages => &desks.pages,
        };
        if desk.try_send(visitor).is_err() {
            reporter.turned_away(to, now);
        }
    }
}

impl Guest {
    fn into_visitor(self, socket: TcpStream) -> io::Result<Visitor> {
        if self.is_broken {
            return Err(io::ErrorKind::InvalidData.into());
        }
        socket.set_nonblocking(true)?;
        Ok(Visitor {
            peer: socket.peer_addr()?,
            local: socket.local_addr()?,
            socket,
            tls: self.tls,
            received: self.hand_over.received,
        })
    }
}
