//! What a session over UDP does with datagrams, with what is missing, and with the ends that TCP tells (§4, §7.3).

use std::time::Instant;

use funnel_wire::codec::Writer;
use funnel_wire::mms::{CancelReadBlock, DataHeader, HResult, Incarnation, ResendRequest};
use zerocopy::FromBytes as _;

use super::session::{Awaiting, Queued, Session};
use super::udp::{Farewell, UdpStats};
use super::window::Told;
use super::{CloseReason, Event};

impl Session {
    /// What became of the media packets so far; all zero over TCP.
    pub fn udp_stats(&self) -> UdpStats {
        self.udp
            .as_ref()
            .map_or_else(UdpStats::default, |udp| udp.window.stats)
    }

    pub(super) fn on_datagram(&mut self, datagram: &[u8]) {
        let is_playing = self.is_playing();
        let Some(udp) = &mut self.udp else { return };
        let Ok((head, payload)) = DataHeader::read_from_prefix(datagram) else {
            return;
        };
        let size = usize::from(head.packet_size.get()).checked_sub(size_of::<DataHeader>());
        let Some(payload) = size.and_then(|size| payload.get(..size)) else {
            return; // cut short on the way, or never a Data packet
        };
        let tag = head.play_incarnation;
        if self.run.is_some_and(|run| run.tag == tag) {
            self.heard_at = self.now;
            let name = (head.af_flags, head.location_id.get());
            udp.window.take(self.now, name, payload, is_playing);
        } else if self.awaits_header() && tag == self.header.tag {
            self.heard_at = self.now;
            self.on_header_datagram(head, payload);
        } else {
            self.stale_packets += 1;
        }
    }

    /// The next packet, or what is lost before it; then whatever TCP told too early.
    pub(super) fn next_told(&mut self) -> Option<Told> {
        let may_tell = self.is_playing();
        let udp = self.udp.as_mut()?;
        if may_tell && let Some(told) = udp.window.tell() {
            return Some(told);
        }
        if (udp.window.is_empty() || !may_tell)
            && let Some(farewell) = udp.farewell.take()
        {
            self.bid(farewell);
        }
        None
    }

    /// Says this at once, or over UDP when nothing is outstanding any more.
    pub(super) fn bid_in_turn(&mut self, farewell: Farewell) {
        let Some(udp) = &mut self.udp else {
            return self.bid(farewell);
        };
        let is_over = matches!(farewell, Farewell::Close(_));
        if is_over {
            udp.window.give_up_all();
        } else if udp.client_id.is_some() {
            udp.window.suspect_more(self.now);
        }
        if !(is_over && matches!(udp.farewell, Some(Farewell::End(_)))) {
            udp.farewell = Some(farewell);
        }
    }

    /// Asks for what is due to be asked for.
    pub(super) fn ask_again(&mut self, now: Instant) {
        let Some(udp) = self.udp.as_mut() else { return };
        if self.awaiting == Awaiting::Closed {
            return;
        }
        let (client_id, source_id) = (udp.client_id, udp.source_id);
        udp.window.tick(now, client_id.is_some(), |sequences| {
            let request = ResendRequest {
                client_id: client_id.unwrap_or_default(),
                source_id,
                sequences,
            };
            let mut writer = Writer::new(&mut self.bytes);
            request.encode(&mut writer);
            self.outbox.push_back(Queued::Datagram(writer.written()));
        });
    }

    pub(super) fn awaits_header(&self) -> bool {
        !self.header.is_complete
            && matches!(self.awaiting, Awaiting::ReadBlock | Awaiting::HeaderData)
    }

    /// The header's time is over: a blind session plays, another asks again.
    pub(super) fn header_timed_out(&mut self) {
        if self.options.blind {
            return self.send_start_playing();
        }
        let Some(udp) = &mut self.udp else { return };
        if udp.header_retries >= HEADER_RETRIES {
            return self.leave(CloseReason::NoDatagrams);
        }
        udp.header_retries += 1;
        self.send(CancelReadBlock {
            play_incarnation: Incarnation(self.header.tag.into()),
        });
        self.send_read_block();
    }

    fn on_header_datagram(&mut self, head: DataHeader, payload: &[u8]) {
        let bytes_max = self.options.header_bytes_max;
        let Some(udp) = self.udp.as_mut().filter(|_| !self.options.blind) else {
            return;
        };
        let name = (head.location_id.get(), head.ends_asf_header());
        match udp.fragments.take(name, payload, bytes_max) {
            Ok(Some(header)) => {
                self.header.bytes = header;
                self.on_header_complete();
            }
            Ok(None) => {}
            Err(()) => self.close(CloseReason::Damaged("ASF header size")),
        }
    }

    fn bid(&mut self, farewell: Farewell) {
        match farewell {
            Farewell::End(hr) => self.on_end(hr),
            Farewell::Change(report) => self.on_stream_changed(&report),
            Farewell::Close(reason) => self.close(reason),
        }
    }

    fn on_end(&mut self, hr: HResult) {
        self.run = None;
        self.event(Event::End(hr));
        self.leave(CloseReason::Finished);
    }
}

/// ReadBlocks after the first for one header (§7.3).
const HEADER_RETRIES: u8 = 4;
