//! What a player asks on one connection for the media on another of its own, which may be another shard's.
//!
//! A connection's id tells its shard, as for resend requests, so whoever hears an order knows whom to pass it to.

use std::time::Instant;

use funnel_session::server::{Input, Order};

use crate::engine::{Action, Engine};

impl Engine {
    /// An order for a connection of this engine's; one that is gone, or does not play, is passed over.
    pub fn order(&mut self, now: Instant, connection: u32, order: Order) {
        if let Some(&index) = self.clients.get(&connection) {
            self.feed(index, now, Input::Order(order));
        }
    }

    pub(crate) fn pass_on(&mut self, now: Instant, connection: u32, order: Order) {
        let shard = (connection & self.shard_mask()) as u16; // the mask has 16 bits at most
        if shard == self.config.shard {
            self.order(now, connection, order);
        } else if shard < self.config.shards {
            self.actions.push(Action::Forward {
                shard,
                connection,
                order,
            });
        }
    }

    /// A viewer over HTTP plays: its orders find it.
    pub(crate) fn expect_orders(&mut self, index: u32) {
        let connection = self.viewers[index as usize].session.client_id();
        self.clients.insert(connection, index);
    }

    pub(crate) fn expect_no_orders(&mut self, index: u32) {
        let connection = self.viewers[index as usize].session.client_id();
        if self.clients.get(&connection) == Some(&index) {
            self.clients.remove(&connection);
        }
    }
}
