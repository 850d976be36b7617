//! A session whose header and media come as datagrams: options, counters, and what it keeps for them.

use std::collections::BTreeMap;
use std::time::Duration;

use funnel_wire::mms::{HResult, ReportStreamChange};

use super::CloseReason;
use super::window::Window;

/// How to deal with what the network loses, doubles and reorders.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UdpOptions {
    /// Ask for what is missing, if the manner sends FunnelInfo; else it is lost after `reorder`.
    pub resend: bool,
    /// Time a packet may be overtaken before it counts as missing.
    pub reorder: Duration,
    /// Time between two requests for the same packet.
    pub retry: Duration,
    /// Requests for the same packet after the first.
    pub retries: u8,
    /// Time after which a missing packet is lost.
    pub give_up: Duration,
    /// Packets held behind a gap; with more, the oldest gaps are given up.
    pub packets: u16,
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self {
            resend: true,
            reorder: Duration::from_millis(30),
            retry: Duration::from_millis(200),
            retries: 4,
            give_up: Duration::from_millis(1500),
            packets: 1024,
        }
    }
}

/// What became of the media packets of a session over UDP, each packet counted once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UdpStats {
    /// Packets that came.
    pub received: u64,
    /// Packets that came again, or after they were given up.
    pub duplicates: u64,
    /// Packets that were overtaken and came before they were asked for.
    pub reordered: u64,
    /// Gaps noticed between packets, however long.
    pub gaps: u64,
    /// Packets asked for, however often.
    pub requested: u64,
    /// Packets that came after they were asked for.
    pub recovered: u64,
    /// Packets told as [`Event::Lost`](super::Event::Lost).
    pub lost: u64,
}

/// What only a session over UDP has.
#[derive(Debug)]
pub(super) struct Udp {
    pub(super) window: Window,
    /// Fragments of the header that is being read.
    pub(super) fragments: Fragments,
    /// ReadBlocks sent again for this header.
    pub(super) header_retries: u8,
    /// Time the header may take (§7.3).
    pub(super) header_patience: Duration,
    /// `nCubs` of ReportFunnelInfo; without it nothing can be asked for.
    pub(super) client_id: Option<u32>,
    /// Low bits of openFileId.
    pub(super) source_id: u16,
    /// What is told once nothing is outstanding any more.
    pub(super) farewell: Option<Farewell>,
}

/// The end of a run, which came by TCP and must not overtake the media.
#[derive(Debug)]
pub(super) enum Farewell {
    End(HResult),
    Change(ReportStreamChange),
    Close(CloseReason),
}

impl Udp {
    pub(super) fn new(options: UdpOptions) -> Self {
        Self {
            window: Window::new(options),
            fragments: Fragments::default(),
            header_retries: 0,
            header_patience: header_patience(0, 0),
            client_id: None,
            source_id: 1,
            farewell: None,
        }
    }

    /// A header of this size is asked for, for the first time.
    pub(super) fn begin_header(&mut self, bytes: u32, bits_per_s: u32) {
        self.fragments = Fragments::default();
        self.header_retries = 0;
        self.header_patience = header_patience(bytes, bits_per_s);
    }
}

/// 1 s and the time the header takes at the channel's rate, at most 30 s (§7.3).
fn header_patience(bytes: u32, bits_per_s: u32) -> Duration {
    let ms = u64::from(bytes) * 8000 / u64::from(bits_per_s.max(1));
    Duration::from_millis(1000 + ms).min(Duration::from_secs(30))
}

/// Header fragments by number, in whatever order they come; those of a second try fill what the first left out.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    pieces: BTreeMap<u32, Box<[u8]>>,
    bytes: usize,
    last: Option<u32>,
}

impl Fragments {
    /// Takes one; the header once it is whole.
    ///
    /// # Errors
    /// `Err(())`: it is larger than `bytes_max`.
    pub(super) fn take(
        &mut self,
        (number, is_last): (u32, bool),
        payload: &[u8],
        bytes_max: usize,
    ) -> Result<Option<Vec<u8>>, ()> {
        if self.pieces.contains_key(&number) {
            return Ok(None);
        }
        self.bytes += payload.len();
        if self.bytes > bytes_max || self.pieces.len() >= PIECES_MAX {
            return Err(());
        }
        self.pieces.insert(number, payload.into());
        if is_last {
            self.last = Some(number);
        }
        let is_whole = self.last.is_some_and(|last| {
            let highest = self.pieces.last_key_value().map(|(number, _)| *number);
            highest == Some(last) && self.pieces.len() as u64 == u64::from(last) + 1
        });
        Ok(is_whole.then(|| {
            let pieces = std::mem::take(&mut self.pieces);
            pieces.into_values().collect::<Vec<_>>().concat()
        }))
    }
}

/// A header of [`header_bytes_max`](super::Options::header_bytes_max) has fewer in reason.
const PIECES_MAX: usize = 8192;
