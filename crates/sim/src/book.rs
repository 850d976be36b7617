//! What was published: the truth every player's bytes are held against.

use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_asf::{Header, Ready};

/// All stretches of one channel, in order.
#[derive(Debug, Default)]
pub struct Book {
    /// One per epoch.
    pub stretches: Vec<Stretch>,
}

/// One epoch of a channel.
#[derive(Debug)]
pub struct Stretch {
    /// As viewers get it.
    pub header: Header,
    /// By number in the log.
    pub packets: Vec<Published>,
}

/// One packet in all its forms. A form that is absent is its nearest substitute, as in the log.
#[derive(Debug)]
pub struct Published {
    /// When.
    pub at: Instant,
    /// Not before then over paced transports.
    pub due_at: Instant,
    /// Position on the timeline, ms.
    pub send_ms: u64,
    /// Whole.
    pub full: Arc<[u8]>,
    /// Without padding.
    pub stripped: Arc<[u8]>,
    /// For a joiner.
    pub join: Arc<[u8]>,
    /// For a joiner, without padding.
    pub join_stripped: Arc<[u8]>,
    /// A viewer may start here.
    pub clean_point: bool,
    /// A joiner is done with this packet.
    pub join_done: bool,
    /// The source was away before it: objects under way are lost.
    pub seam: bool,
}

impl Published {
    /// Notes what the normaliser made of a packet.
    pub fn of(ready: &Ready<'_>, at: Instant, due_ms: u64, seam: bool) -> Self {
        let full: Arc<[u8]> = ready.full.into();
        let stripped: Arc<[u8]> = ready.stripped.map_or_else(|| Arc::clone(&full), Into::into);
        let join: Option<Arc<[u8]>> = ready.join.map(Into::into);
        let join_stripped: Option<Arc<[u8]>> = ready.join_stripped.map(Into::into);
        Self {
            at,
            due_at: at + Duration::from_millis(due_ms - ready.meta.send_ms),
            send_ms: ready.meta.send_ms,
            join_stripped: join_stripped
                .or_else(|| join.clone())
                .unwrap_or_else(|| Arc::clone(&stripped)),
            join: join.unwrap_or_else(|| Arc::clone(&full)),
            full,
            stripped,
            clean_point: ready.meta.clean_point,
            join_done: ready.meta.join_done,
            seam,
        }
    }

    /// The two bodies a viewer may get, by whether it is joining.
    pub fn bodies(&self, joining: bool) -> [&[u8]; 2] {
        if joining {
            [&self.join, &self.join_stripped]
        } else {
            [&self.full, &self.stripped]
        }
    }
}

impl Stretch {
    /// The newest clean point at or before `seq`.
    pub fn clean_point_before(&self, seq: u64) -> Option<u64> {
        (0..=seq)
            .rev()
            .find(|at| self.packet(*at).is_some_and(|packet| packet.clean_point))
    }

    /// Packet `seq`.
    pub fn packet(&self, seq: u64) -> Option<&Published> {
        self.packets.get(usize::try_from(seq).ok()?)
    }
}
