//! What our player says, with the values of its manner (protocol page §5, §11.1).

use funnel_asf::{Selection, Thinning};
use funnel_wire::codec::Writer;
use funnel_wire::mms::{
    Connect, ConnectFunnel, FunnelInfo, Incarnation, MAC_TO_VIEWER_REVISION, OpenFile, ReadBlock,
    StartPlaying, StopPlaying, StreamEntry, StreamSwitch, Transport, VIEWER_TO_MAC_REVISION,
    ViewerMessage,
};

use super::session::{Awaiting, Header, Queued, Run, Session};

impl Session {
    pub(super) fn play(&mut self) {
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

    pub(super) fn stop(&mut self) {
        let Some(run) = self.run.take() else { return };
        if let Some(udp) = &mut self.udp {
            udp.window.end_run();
        }
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

    pub(super) fn select(&mut self, selection: Selection) {
        self.selection = selection;
        if self.is_playing() {
            self.send_stream_switch();
        }
    }

    pub(super) fn send_connect(&mut self) {
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

    pub(super) fn send_funnel_info(&mut self) {
        let Some(plain) = self.options.manner.funnel_info else {
            return self.send_connect_funnel();
        };
        let (play_incarnation, pair_packets) = match (self.options.packet_pair, &self.udp) {
            (false, _) => (plain, 0),
            (true, None) => (Incarnation::PACKET_PAIR_TCP, 3),
            (true, Some(_)) => (Incarnation::PACKET_PAIR_UDP, 0),
        };
        self.pair_packets_left = pair_packets;
        self.send(FunnelInfo { play_incarnation });
        self.expect(Awaiting::FunnelInfo);
    }

    pub(super) fn send_connect_funnel(&mut self) {
        let manner = &self.options.manner;
        let local = &self.options.local_address;
        let funnel_name = match (self.options.transport, manner.funnel) {
            (Transport::Udp { port }, _) => format!(r"\\{local}\UDP\{port}"),
            (Transport::Tcp, Some(invented)) => invented.to_owned(),
            (Transport::Tcp, None) => format!(r"\\{local}\TCP\1755"),
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

    pub(super) fn send_open_file(&mut self) {
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

    pub(super) fn send_read_block(&mut self) {
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

    pub(super) fn send_stream_switch(&mut self) {
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

    pub(super) fn send_start_playing(&mut self) {
        let tag = self.options.manner.next_play_tag(self.last_tag);
        let (padding, frame_offset) = self.options.manner.start_playing;
        self.last_tag = Some(tag);
        self.header.may_play_unasked = false;
        if let Some(udp) = &mut self.udp {
            udp.window.end_run();
        }
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

    pub(super) fn send(&mut self, message: impl Into<ViewerMessage>) {
        let mut writer = Writer::new(&mut self.bytes);
        message.into().encode(self.sequence, &mut writer);
        self.sequence = self.sequence.wrapping_add(1);
        self.outbox.push_back(Queued::Send(writer.written()));
    }
}
