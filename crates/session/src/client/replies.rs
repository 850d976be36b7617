//! What the server says, and what our player does about it.

use std::ops::Range;

use funnel_wire::mms::{
    DataHeader, HResult, Incarnation, MacMessage, Pong, ReportConnected, ReportEndOfStream,
    ReportFunnelInfo, ReportOpenFile, ReportStreamChange,
};

use super::inbox::expand_sequence;
use super::session::{Awaiting, Data, Header, Queued, Run, Session};
use super::udp::Farewell;
use super::{CloseReason, Event, FileInfo, Stage};

impl Session {
    pub(super) fn on_message(&mut self, message: MacMessage) {
        if self.awaiting == Awaiting::Closed {
            return;
        }
        match message {
            MacMessage::ReportConnected(report) if self.awaiting == Awaiting::Connected => {
                self.on_connected(report);
            }
            MacMessage::ReportFunnelInfo(report) if self.awaiting == Awaiting::FunnelInfo => {
                self.on_funnel_info(&report);
            }
            MacMessage::ReportConnectedFunnel(report) if self.awaiting == Awaiting::Funnel => {
                self.on_funnel(report.hr);
            }
            MacMessage::ReportDisconnectedFunnel(report) if self.awaiting == Awaiting::Funnel => {
                self.refused(Stage::ConnectFunnel, report.hr);
            }
            MacMessage::ReportOpenFile(report) if self.awaiting == Awaiting::Open => {
                self.on_open(&report)
            }
            MacMessage::ReportRedirect(report) if self.awaiting == Awaiting::Open => {
                self.event(Event::Redirect(report.location));
                self.close(CloseReason::Redirected);
            }
            MacMessage::SecurityChallenge(_) if self.awaiting == Awaiting::Open => {
                self.refused(Stage::Authentication, HResult::E_ACCESSDENIED);
            }
            MacMessage::ReportReadBlock(report) if self.awaiting == Awaiting::ReadBlock => {
                self.on_read_block(report.hr);
            }
            MacMessage::ReportStreamSwitch(report) => self.on_switched(report.hr),
            MacMessage::ReportStartedPlaying(report) => {
                self.on_started(report.hr, report.play_incarnation);
            }
            MacMessage::ReportEndOfStream(report) => self.on_end_of_stream(&report),
            MacMessage::ReportStreamChange(report) => {
                self.bid_in_turn(Farewell::Change(report));
            }
            MacMessage::Ping(_) => {
                let (param1, param2) = self.options.manner.pong;
                self.send(Pong { param1, param2 });
            }
            _ => {} // surplus reports, unknown messages
        }
    }

    fn on_connected(&mut self, report: ReportConnected) {
        if self.is_accepted(Stage::Connect, report.hr) {
            let product = Some(report.version_info).filter(|text| !text.is_empty());
            self.event(Event::Connected {
                server_version: report.server_version,
                product,
            });
            self.send_funnel_info();
        }
    }

    fn on_funnel(&mut self, hr: HResult) {
        if self.is_accepted(Stage::ConnectFunnel, hr) {
            self.send_open_file();
        }
    }

    fn on_read_block(&mut self, hr: HResult) {
        if self.is_accepted(Stage::ReadBlock, hr) {
            self.expect(Awaiting::HeaderData);
        }
    }

    pub(super) fn on_stream_changed(&mut self, report: &ReportStreamChange) {
        self.event(Event::StreamChange(FileInfo {
            packet_bytes: report.packet_bytes,
            header_bytes: report.header_bytes,
            bit_rate: report.bit_rate,
            attributes: 0,
        }));
        self.run = None;
        if let Some(udp) = &mut self.udp {
            // Over UDP the header comes when it is asked for, as after OpenFile.
            udp.begin_header(report.header_bytes, report.bit_rate);
            return self.send_read_block();
        }
        self.header = Header {
            tag: report.header_incarnation.tag(),
            may_play_unasked: true,
            ..Header::default()
        };
        self.expect(Awaiting::HeaderData);
    }

    fn on_funnel_info(&mut self, report: &ReportFunnelInfo) {
        if !self.is_accepted(Stage::FunnelInfo, report.hr) {
            return;
        }
        if let Some(udp) = &mut self.udp {
            udp.client_id = Some(report.client_id);
        }
        if report.play_incarnation == Incarnation::PACKET_PAIR_TCP {
            self.pair_packets_left = self.pair_packets_left.saturating_sub(1);
        } else {
            self.pair_packets_left = 0;
        }
        if self.pair_packets_left == 0 {
            self.send_connect_funnel();
        }
    }

    fn on_open(&mut self, report: &ReportOpenFile) {
        if self.is_accepted(Stage::OpenFile, report.hr) {
            self.event(Event::Opened(FileInfo {
                packet_bytes: report.packet_bytes,
                header_bytes: report.header_bytes,
                bit_rate: report.bit_rate,
                attributes: report.file_attributes,
            }));
            if let Some(udp) = &mut self.udp {
                udp.source_id = report.open_file_id as u16; // low 16 bits (§4.4)
                udp.begin_header(report.header_bytes, report.bit_rate);
            }
            self.send_read_block();
        }
    }

    fn on_switched(&mut self, hr: HResult) {
        if self.is_accepted(Stage::StreamSwitch, hr) && self.awaiting == Awaiting::Switched {
            self.send_start_playing();
        }
    }

    fn on_started(&mut self, hr: HResult, tag: Incarnation) {
        if self.is_accepted(Stage::StartPlaying, hr)
            && let Some(run) = &mut self.run
            && run.tag == tag.tag()
        {
            run.is_started = true;
            self.awaiting = Awaiting::Nothing;
            self.event(Event::Started);
        }
    }

    fn on_end_of_stream(&mut self, report: &ReportEndOfStream) {
        if self
            .stopping
            .take_if(|stopping| *stopping == report.play_incarnation)
            .is_some()
        {
            return self.event(Event::Stopped);
        }
        if report.hr == HResult::S_FALSE {
            return self.expect(Awaiting::StreamChange);
        }
        self.bid_in_turn(Farewell::End(report.hr));
    }

    pub(super) fn on_data(
        &mut self,
        head: DataHeader,
        payload: Range<usize>,
    ) -> Result<Data, CloseReason> {
        let tag = head.play_incarnation;
        if self.udp.is_some() {
            self.stale_packets += 1; // not the way we asked for
            return Ok(Data::Other);
        }
        if !self.header.is_complete && tag == self.header.tag {
            return self.on_header_data(head, payload).map(|()| Data::Other);
        }
        // Media tagged 0xFF: the server did not wait for StartPlaying after a StreamChange (§8.4).
        if self.run.is_none()
            && self.header.is_complete
            && self.header.may_play_unasked
            && tag == DataHeader::INCARNATION_STREAM_CHANGE
        {
            self.header.may_play_unasked = false;
            self.run = Some(Run {
                tag,
                is_started: true,
            });
        }
        if !self.run.is_some_and(|run| run.tag == tag && run.is_started) {
            self.stale_packets += 1;
            return Ok(Data::Other);
        }
        let sequence = expand_sequence(head.af_flags, self.expected);
        self.expected = sequence.wrapping_add(1);
        Ok(Data::Packet {
            location: head.location_id.get(),
            sequence,
            payload,
        })
    }

    fn on_header_data(
        &mut self,
        head: DataHeader,
        payload: Range<usize>,
    ) -> Result<(), CloseReason> {
        let location = head.location_id.get();
        if location == 0 {
            self.header.bytes.clear();
        } else if location != self.header.next_location {
            return Err(CloseReason::Damaged("ASF header fragment"));
        }
        self.header.next_location = location.wrapping_add(1);
        self.header
            .bytes
            .extend_from_slice(self.inbox.slice(payload));
        if self.header.bytes.len() > self.options.header_bytes_max {
            return Err(CloseReason::Damaged("ASF header size"));
        }
        if head.ends_asf_header() {
            self.on_header_complete();
        }
        Ok(())
    }

    pub(super) fn on_header_complete(&mut self) {
        self.header.is_complete = true;
        self.header.streams = stream_numbers(&self.header.bytes);
        self.awaiting = Awaiting::Nothing;
        self.outbox.push_back(Queued::Header);
        if self.options.auto_play {
            self.play();
        }
    }
}

/// Stream numbers of an ASF header, ascending; empty if it is not one.
fn stream_numbers(header: &[u8]) -> Vec<u8> {
    let Ok(header) = funnel_asf::Header::parse(header) else {
        return Vec::new();
    };
    let mut numbers: Vec<u8> = header
        .streams()
        .iter()
        .map(|stream| stream.number)
        .collect();
    numbers.sort_unstable();
    numbers
}
