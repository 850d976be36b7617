//! The state machine of our own player.
//!
//! ```text
//! Connect ► [FunnelInfo] ► ConnectFunnel ► OpenFile ► ReadBlock ► header ► Ready ⇄ Playing ► over
//!                                                        └──── StreamChange ◄──────┘
//! ```
//!
//! Each step waits for one report (`awaiting`). Ping is answered and surplus messages are tolerated at any time.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use funnel_asf::{Selection, Thinning};
use funnel_wire::codec::Writer;
use funnel_wire::mms::{
    CloseFile, Connect, ConnectFunnel, DataHeader, Frame, FunnelInfo, HResult, Incarnation,
    MAC_TO_VIEWER_REVISION, MacMessage, OpenFile, Pong, ReadBlock, ReportEndOfStream,
    ReportFunnelInfo, ReportOpenFile, StartPlaying, StopPlaying, StreamEntry, StreamSwitch,
    Traffic, VIEWER_TO_MAC_REVISION, ViewerMessage, split,
};

use super::inbox::{Inbox, expand_sequence};
use super::{CloseReason, Event, FileInfo, Input, Options, Output, Stage};
use crate::url::Url;

/// One connection to one channel. See the module for the contract.
#[derive(Debug)]
pub struct Session {
    options: Arc<Options>,
    url: Arc<Url>,
    inbox: Inbox,
    outbox: VecDeque<Queued>,
    bytes: Vec<u8>,
    taken: usize,
    sequence: u16,
    awaiting: Awaiting,
    asked_at: Instant,
    heard_at: Instant,
    now: Instant,
    pair_packets_left: u8,
    header: Header,
    selection: Selection,
    run: Option<Run>,
    last_tag: Option<u8>,
    /// Sequence number the next packet should have; runs on over stops.
    expected: u32,
    /// Tag of a StopPlaying that is not answered yet.
    stopping: Option<Incarnation>,
    stale_packets: u64,
}

/// What the session waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Awaiting {
    Connected,
    FunnelInfo,
    Funnel,
    Open,
    ReadBlock,
    HeaderData,
    Switched,
    Started,
    /// After EndOfStream hr 1.
    StreamChange,
    /// Ready or playing: no answer is due.
    Nothing,
    /// Over.
    Closed,
}

#[derive(Debug, Default)]
struct Header {
    bytes: Vec<u8>,
    tag: u8,
    next_location: u32,
    is_complete: bool,
    streams: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    tag: u8,
    is_started: bool,
}

#[derive(Debug)]
enum Queued {
    Send(usize),
    Event(Event<'static>),
    Header,
}

/// What a Data packet turned out to be.
enum Data {
    Packet {
        location: u32,
        sequence: u32,
        payload: Range<usize>,
    },
    Other,
}

impl Session {
    /// The connection exists; the first poll yields Connect.
    pub fn new(url: Arc<Url>, options: Arc<Options>, now: Instant) -> Self {
        let mut session = Self {
            selection: options.streams,
            options,
            url,
            inbox: Inbox::default(),
            outbox: VecDeque::new(),
            bytes: Vec::new(),
            taken: 0,
            sequence: 0,
            awaiting: Awaiting::Connected,
            asked_at: now,
            heard_at: now,
            now,
            pair_packets_left: 0,
            header: Header::default(),
            run: None,
            last_tag: None,
            expected: 0,
            stopping: None,
            stale_packets: 0,
        };
        session.send_connect();
        session
    }

    /// Takes one input; poll the outputs afterwards.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.now = now;
        if self.awaiting == Awaiting::Closed {
            return;
        }
        match input {
            Input::Received(bytes) => {
                self.heard_at = now;
                self.inbox.push(bytes);
            }
            Input::Closed => self.close(CloseReason::ConnectionLost),
            Input::Timeout => {
                if self.deadline().is_some_and(|at| now >= at) {
                    self.leave(CloseReason::TimedOut);
                }
            }
            Input::Play => self.play(),
            Input::Stop => self.stop(),
            Input::Select(selection) => self.select(selection),
            Input::Close => self.leave(CloseReason::Finished),
        }
    }

    /// What to do next; call until [`Output::Idle`].
    pub fn poll_output(&mut self) -> Output<'_> {
        loop {
            match self.outbox.pop_front() {
                Some(Queued::Send(size)) => {
                    let start = self.taken;
                    self.taken += size;
                    return Output::Send(self.bytes.get(start..self.taken).unwrap_or_default());
                }
                Some(Queued::Event(event)) => return Output::Event(event),
                Some(Queued::Header) => return Output::Event(Event::Header(&self.header.bytes)),
                None => {}
            }
            self.bytes.clear();
            self.taken = 0;
            if self.awaiting == Awaiting::Closed {
                return Output::Idle { wake_at: None };
            }
            match self.next_unit() {
                Ok(Some(Data::Packet {
                    location,
                    sequence,
                    payload,
                })) => {
                    return Output::Event(Event::Packet {
                        location,
                        sequence,
                        bytes: self.inbox.slice(payload),
                    });
                }
                Ok(Some(Data::Other)) => {}
                Ok(None) => {
                    return Output::Idle {
                        wake_at: self.deadline(),
                    };
                }
                Err(reason) => self.close(reason),
            }
        }
    }

    /// Data packets with the tag of an earlier run, dropped.
    pub fn stale_packets(&self) -> u64 {
        self.stale_packets
    }

    /// Is media of the current run expected?
    pub fn is_playing(&self) -> bool {
        self.run.is_some_and(|run| run.is_started)
    }

    // --- what the server sends -------------------------------------------------------------------------------------

    fn next_unit(&mut self) -> Result<Option<Data>, CloseReason> {
        let position = self.inbox.position;
        let Some((frame, size)) = split(self.inbox.unread(), Traffic::MessagesAndData, position)
            .map_err(CloseReason::Framing)?
        else {
            return Ok(None);
        };
        match frame {
            Frame::Message(frame) => {
                let messages: Result<Vec<_>, _> = frame
                    .messages()
                    .map(|(mid, body)| MacMessage::decode(mid, body))
                    .collect();
                let messages =
                    messages.map_err(|error| CloseReason::Damaged(error.truncated.field))?;
                self.inbox.advance(size);
                for message in messages {
                    self.on_message(message);
                }
                Ok(Some(Data::Other))
            }
            Frame::Data { header, .. } => {
                let unit = self.inbox.advance(size);
                self.on_data(header, unit.start + size_of::<DataHeader>()..unit.end)
                    .map(Some)
            }
        }
    }

    fn on_message(&mut self, message: MacMessage) {
        if self.awaiting == Awaiting::Closed {
            return;
        }
        match message {
            MacMessage::ReportConnected(report) if self.awaiting == Awaiting::Connected => {
                if self.is_accepted(Stage::Connect, report.hr) {
                    let product = Some(report.version_info).filter(|text| !text.is_empty());
                    self.event(Event::Connected {
                        server_version: report.server_version,
                        product,
                    });
                    self.send_funnel_info();
                }
            }
            MacMessage::ReportFunnelInfo(report) if self.awaiting == Awaiting::FunnelInfo => {
                self.on_funnel_info(&report);
            }
            MacMessage::ReportConnectedFunnel(report) if self.awaiting == Awaiting::Funnel => {
                if self.is_accepted(Stage::ConnectFunnel, report.hr) {
                    self.send_open_file();
                }
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
                if self.is_accepted(Stage::ReadBlock, report.hr) {
                    self.expect(Awaiting::HeaderData);
                }
            }
            MacMessage::ReportStreamSwitch(report) => self.on_switched(report.hr),
            MacMessage::ReportStartedPlaying(report) => {
                self.on_started(report.hr, report.play_incarnation)
            }
            MacMessage::ReportEndOfStream(report) => self.on_end_of_stream(&report),
            MacMessage::ReportStreamChange(report) => {
                let info = FileInfo {
                    packet_bytes: report.packet_bytes,
                    header_bytes: report.header_bytes,
                    bit_rate: report.bit_rate,
                    attributes: 0,
                };
                self.event(Event::StreamChange(info));
                self.run = None;
                self.header = Header {
                    tag: report.header_incarnation.tag(),
                    ..Header::default()
                };
                self.expect(Awaiting::HeaderData);
            }
            MacMessage::Ping(_) => {
                let (param1, param2) = self.options.manner.pong;
                self.send(Pong { param1, param2 });
            }
            _ => {} // surplus reports, unknown messages
        }
    }

    fn on_funnel_info(&mut self, report: &ReportFunnelInfo) {
        if !self.is_accepted(Stage::FunnelInfo, report.hr) {
            return;
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
        self.run = None;
        self.event(Event::End(report.hr));
        self.leave(CloseReason::Finished);
    }

    fn on_data(&mut self, head: DataHeader, payload: Range<usize>) -> Result<Data, CloseReason> {
        let tag = head.play_incarnation;
        if !self.header.is_complete && tag == self.header.tag {
            return self.on_header_data(head, payload).map(|()| Data::Other);
        }
        // Media tagged 0xFF: the server did not wait for StartPlaying after a StreamChange (§8.4).
        if self.run.is_none()
            && self.header.is_complete
            && tag == DataHeader::INCARNATION_STREAM_CHANGE
        {
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
            self.header.is_complete = true;
            self.header.streams = stream_numbers(&self.header.bytes);
            self.awaiting = Awaiting::Nothing;
            self.outbox.push_back(Queued::Header);
            if self.options.auto_play {
                self.play();
            }
        }
        Ok(())
    }

    // --- what the owner wants --------------------------------------------------------------------------------------

    fn play(&mut self) {
        if !self.header.is_complete {
            return;
        }
        if self.options.manner.selects_streams {
            self.send_stream_switch();
            if self.options.manner.waits_for_switch {
                return self.expect(Awaiting::Switched);
            }
        }
        self.send_start_playing();
    }

    fn stop(&mut self) {
        let Some(run) = self.run.take() else { return };
        let play_incarnation = self
            .options
            .manner
            .stop_incarnation
            .unwrap_or(Incarnation(run.tag.into()));
        self.stopping = Some(play_incarnation);
        self.send(StopPlaying {
            open_file_id: 1,
            play_incarnation,
        });
    }

    fn select(&mut self, selection: Selection) {
        self.selection = selection;
        if self.is_playing() {
            self.send_stream_switch();
        }
    }

    // --- messages --------------------------------------------------------------------------------------------------

    fn send_connect(&mut self) {
        let manner = &self.options.manner;
        let mut subscriber_name = manner.subscriber.to_owned();
        if manner.names_host {
            subscriber_name.push_str("; Host: ");
            subscriber_name.push_str(&self.url.authority());
        }
        let wants_pair = self.options.packet_pair && manner.funnel_info.is_some();
        let play_incarnation = if wants_pair {
            Incarnation::PACKET_PAIR
        } else {
            manner.connect
        };
        self.send(Connect {
            play_incarnation,
            mac_to_viewer_revision: MAC_TO_VIEWER_REVISION,
            viewer_to_mac_revision: VIEWER_TO_MAC_REVISION,
            subscriber_name,
        });
    }

    fn send_funnel_info(&mut self) {
        let Some(plain) = self.options.manner.funnel_info else {
            return self.send_connect_funnel();
        };
        let play_incarnation = if self.options.packet_pair {
            Incarnation::PACKET_PAIR_TCP
        } else {
            plain
        };
        self.pair_packets_left = if self.options.packet_pair { 3 } else { 0 };
        self.send(FunnelInfo { play_incarnation });
        self.expect(Awaiting::FunnelInfo);
    }

    fn send_connect_funnel(&mut self) {
        let manner = &self.options.manner;
        let funnel_name = match manner.funnel {
            Some(invented) => invented.to_owned(),
            None => format!(r"\\{}\TCP\1755", self.options.local_address),
        };
        let (max_block_bytes, max_bit_rate) = (manner.max_block_bytes, manner.max_bit_rate);
        self.send(ConnectFunnel {
            max_block_bytes,
            max_bit_rate,
            funnel_mode: 2,
            funnel_name,
            ..ConnectFunnel::default()
        });
        self.expect(Awaiting::Funnel);
    }

    fn send_open_file(&mut self) {
        let manner = &self.options.manner;
        let (play_incarnation, spare) = (Incarnation(manner.tags[0].into()), manner.open_spare);
        let file_name = self.url.path.clone();
        self.send(OpenFile {
            play_incarnation,
            spare,
            file_name,
            token: Vec::new(),
        });
        self.expect(Awaiting::Open);
    }

    fn send_read_block(&mut self) {
        let tag = self.options.manner.tags[1];
        let (length, flags) = self.options.manner.read_block;
        self.header = Header {
            tag,
            ..Header::default()
        };
        self.send(ReadBlock {
            open_file_id: 1,
            length,
            flags,
            deadline_seconds: 3600.0,
            play_incarnation: Incarnation(tag.into()),
            ..ReadBlock::default()
        });
        self.expect(Awaiting::ReadBlock);
    }

    fn send_stream_switch(&mut self) {
        let level = |stream: u8| match self.selection.level(stream) {
            Thinning::All => 0,
            Thinning::KeyFramesOnly => 1,
            Thinning::Off => 2,
        };
        let streams = self.header.streams.iter();
        let mut switch = StreamSwitch::new(
            streams
                .map(|n| StreamEntry::select((*n).into(), level(*n)))
                .collect(),
        );
        let padding = self.options.manner.switch_padding_entries;
        switch
            .entries
            .resize(switch.entries.len() + padding, StreamEntry::default());
        self.send(switch);
    }

    fn send_start_playing(&mut self) {
        let tag = self.options.manner.next_play_tag(self.last_tag);
        let (padding, frame_offset) = self.options.manner.start_playing;
        self.last_tag = Some(tag);
        self.run = Some(Run {
            tag,
            is_started: false,
        });
        self.send(StartPlaying {
            open_file_id: 1,
            padding,
            position_seconds: 0.0,
            asf_offset: u32::MAX,
            location_id: u32::MAX,
            frame_offset,
            play_incarnation: Incarnation(tag.into()),
            acceleration: self.options.acceleration,
        });
        self.expect(Awaiting::Started);
    }

    fn send(&mut self, message: impl Into<ViewerMessage>) {
        let mut writer = Writer::new(&mut self.bytes);
        message.into().encode(self.sequence, &mut writer);
        self.sequence = self.sequence.wrapping_add(1);
        self.outbox.push_back(Queued::Send(writer.written()));
    }

    // --- order and ends --------------------------------------------------------------------------------------------

    fn event(&mut self, event: Event<'static>) {
        self.outbox.push_back(Queued::Event(event));
    }

    fn expect(&mut self, awaiting: Awaiting) {
        self.awaiting = awaiting;
        self.asked_at = self.now;
    }

    fn is_accepted(&mut self, stage: Stage, hr: HResult) -> bool {
        if hr.is_error() {
            self.refused(stage, hr);
        }
        !hr.is_error()
    }

    fn refused(&mut self, stage: Stage, hr: HResult) {
        self.event(Event::Refused { stage, hr });
        self.close(CloseReason::Refused(hr));
    }

    /// Says good-bye in the player's manner, then closes.
    fn leave(&mut self, reason: CloseReason) {
        if self.options.manner.closes_file && self.header.is_complete {
            self.send(CloseFile {
                play_incarnation: Incarnation(1),
                open_file_id: 1,
            });
        }
        self.close(reason);
    }

    fn close(&mut self, reason: CloseReason) {
        if self.awaiting != Awaiting::Closed {
            self.awaiting = Awaiting::Closed;
            self.run = None;
            self.event(Event::Close(reason));
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self.awaiting {
            Awaiting::Closed => None,
            Awaiting::Nothing if self.is_playing() => {
                self.options.silence.map(|silence| self.heard_at + silence)
            }
            Awaiting::Nothing => None,
            _ => Some(self.asked_at + self.options.answer_within),
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
