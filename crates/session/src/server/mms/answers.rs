//! The answers to a player's requests, one method per message (§5). Each answers exactly once.

use std::time::Instant;

use funnel_asf::{Selection, Thinning};
use funnel_wire::mms::{
    Acceleration, Connect, ConnectFunnel, FunnelInfo, FunnelName, Incarnation, Mid, OpenFile, Path,
    ReadBlock, ReportConnected, ReportConnectedFunnel, ReportEndOfStream, ReportFunnelInfo,
    ReportReadBlock, ReportStartedPlaying, ReportStreamSwitch, StartPlaying, StopPlaying,
    StreamEntry, StreamSwitch, SubscriberName, Transport, ViewerMessage,
};

use super::fragments::Fragments;
use super::refusal::Refusal;
use super::session::{OPEN_FILE_ID, Phase, REFUSED_LINGER, Run, Serving, Session, State};
use super::{Accel, Event, Framing, OpenRequest, Play, Player, SplitMix};

impl Session {
    /// Serves a request that `order::verdict` let through.
    pub(super) fn serve(&mut self, now: Instant, message: ViewerMessage) {
        match message {
            ViewerMessage::Connect(message) => self.on_connect(now, &message),
            ViewerMessage::FunnelInfo(message) => self.on_funnel_info(&message),
            ViewerMessage::ConnectFunnel(message) => self.on_connect_funnel(now, &message),
            ViewerMessage::OpenFile(message) => self.on_open_file(message),
            ViewerMessage::ReadBlock(message) => self.on_read_block(now, &message),
            ViewerMessage::CancelReadBlock(_) => self.cancel_header(),
            ViewerMessage::StreamSwitch(message) => {
                self.has_proof();
                self.on_stream_switch(&message);
            }
            ViewerMessage::StartPlaying(message) => self.on_start_playing(now, &message),
            ViewerMessage::StartStriding(message) => {
                self.refuse(
                    Mid::START_STRIDING,
                    message.play_incarnation,
                    Refusal::Striding,
                );
            }
            ViewerMessage::StopPlaying(message) => self.on_stop_playing(&message),
            ViewerMessage::Logging(message) => self.outbox.event(Event::ClientLog(message.log)),
            ViewerMessage::SecurityResponse(_)
            | ViewerMessage::Pong(_)
            | ViewerMessage::CloseFile(_)
            | ViewerMessage::Unknown(_) => {}
        }
    }

    /// §5.1. In a later state it starts the session anew.
    fn on_connect(&mut self, now: Instant, message: &Connect) {
        if matches!(self.state, State::Serving(_)) {
            self.stop_media();
            self.cancel_header();
            if !self.opened_before {
                self.handshake_until = now + self.settings.handshake;
            }
        }
        self.set_transport(now, Transport::Tcp);
        self.ask_pair(false);
        let subscriber = SubscriberName::parse(&message.subscriber_name);
        self.host = subscriber.host.as_deref().map(bounded);
        self.product = bounded(&subscriber.product);
        self.recognise(Player::of_subscriber(&subscriber));
        let play_incarnation = match message.play_incarnation {
            Incarnation::PACKET_PAIR => Incarnation::PACKET_PAIR,
            _ => Incarnation::NO_PACKET_PAIR,
        };
        let server_version = self.settings.server_version.clone();
        let version_info = self.settings.version_info.clone();
        self.outbox.message(ReportConnected {
            play_incarnation,
            server_version,
            version_info,
            ..ReportConnected::default()
        });
        self.state = State::Connected;
    }

    /// §5.3, §4.5: three packets of random bytes for who asks for packet pair over TCP, else one without.
    fn on_funnel_info(&mut self, message: &FunnelInfo) {
        self.recognise(self.player.seen_funnel_info(message));
        let client_id = self.client_id();
        let over_udp = self.ask_pair(message.play_incarnation == Incarnation::PACKET_PAIR_UDP);
        let report = ReportFunnelInfo {
            client_id,
            play_incarnation: over_udp,
            ..ReportFunnelInfo::default()
        };
        match message.play_incarnation {
            Incarnation::PACKET_PAIR | Incarnation::PACKET_PAIR_TCP => {
                let mut random = SplitMix(self.nonce);
                for size in ReportFunnelInfo::PAIR_BYTES {
                    let play_incarnation = Incarnation::PACKET_PAIR_TCP;
                    let pair_bytes = random.bytes(size);
                    self.outbox.message(ReportFunnelInfo {
                        play_incarnation,
                        pair_bytes,
                        ..report.clone()
                    });
                }
            }
            _ => self.outbox.message(report), // over UDP the pair goes before the header
        }
    }

    /// §5.5. With a channel open it changes the way only: a player whose UDP is blocked goes on over TCP.
    fn on_connect_funnel(&mut self, now: Instant, message: &ConnectFunnel) {
        self.recognise(self.player.seen_connect_funnel(message));
        match FunnelName::parse(&message.funnel_name).map(|name| name.transport) {
            Ok(Transport::Udp { .. }) if !self.settings.udp => {
                self.refuse(Mid::CONNECT_FUNNEL, Incarnation(0), Refusal::Udp)
            }
            Ok(transport) => {
                self.set_transport(now, transport);
                self.outbox.message(ReportConnectedFunnel::default());
                if !matches!(self.state, State::Serving(_)) {
                    self.state = State::Funnel;
                }
            }
            Err(error) => self.refuse(
                Mid::CONNECT_FUNNEL,
                Incarnation(0),
                Refusal::FunnelName(error),
            ),
        }
    }

    /// §5.8. A token is credentials nobody asked for.
    fn on_open_file(&mut self, message: OpenFile) {
        let incarnation = message.play_incarnation;
        if self.player == Player::Libmms && incarnation == Incarnation(0) {
            self.recognise(Player::Mplayer); // the only one with the illegal 0 (§3.4)
        }
        let path = Path::new(message.file_name);
        if path.is_too_long() {
            return self.refuse(Mid::OPEN_FILE, incarnation, Refusal::Path);
        }
        self.cancel_header();
        self.outbox.event(Event::Open(OpenRequest {
            names: path.candidates(),
            query: path.query().map(str::to_owned),
            raw: path.raw,
            host: self.host.as_deref().map(str::to_owned),
        }));
        self.state = State::Opening { incarnation };
    }

    /// §5.12: the report, then the header that ReportOpenFile announced.
    fn on_read_block(&mut self, now: Instant, message: &ReadBlock) {
        let play_incarnation = message.play_incarnation;
        let State::Serving(serving) = &mut self.state else {
            // mplayer and xine ask even though nothing is open.
            let refusal = Refusal::OutOfOrder;
            self.refuse(Mid::READ_BLOCK, play_incarnation, refusal);
            self.state = State::Refused {
                refusal,
                close_at: now + REFUSED_LINGER,
            };
            return;
        };
        if matches!(serving.phase, Phase::Open) {
            self.opened_before = false;
            serving.phase = Phase::Ready;
        }
        if self.udp.is_some() {
            return self.read_block_over_udp(now, message);
        }
        let content = &serving.content;
        let fragments = Fragments::new(
            content.header.clone(),
            content.packet_bytes,
            play_incarnation.tag(),
        );
        self.outbox.message(ReportReadBlock {
            play_incarnation,
            ..ReportReadBlock::default()
        });
        self.outbox.header(fragments);
    }

    /// §5.15: before play a complete list, during play changes.
    fn on_stream_switch(&mut self, message: &StreamSwitch) {
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        let plays = matches!(serving.phase, Phase::Streaming(run) if !run.is_held());
        let mut selection = if plays {
            serving.selection
        } else {
            Selection::NONE
        };
        if message
            .entries
            .iter()
            .all(|entry| apply(entry, serving.content.streams, &mut selection))
        {
            serving.selection = selection;
            if plays {
                self.outbox.event(Event::Select(selection));
            }
            self.outbox.message(ReportStreamSwitch::default());
        } else {
            self.refuse(Mid::STREAM_SWITCH, Incarnation(0), Refusal::UnknownStream);
        }
    }

    /// §5.17: while playing it is a seek. Positions and `frameOffset` mean nothing in a live stream.
    fn on_start_playing(&mut self, now: Instant, message: &StartPlaying) {
        let incarnation = message.play_incarnation;
        if !self.has_proof() {
            return self.strike(now, Mid::START_PLAYING, incarnation, Refusal::OutOfOrder);
        }
        if self.udp.is_some() {
            self.cancel_header(); // it has one; VLC counts datagrams with the header's tag as errors (§3.4)
        }
        self.stop_media();
        let (keep_padding, takes_change) = (
            self.player.keeps_padding(),
            self.player.takes_stream_change(),
        );
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        self.outbox.message(ReportStartedPlaying {
            play_incarnation: incarnation,
            open_file_id: OPEN_FILE_ID,
            ..ReportStartedPlaying::default()
        });
        serving.phase = Phase::Streaming(Run::new(incarnation, now));
        let selection = serving.selection;
        match serving.changed.take() {
            // The header this player holds is out of date: everything it may do now is learn the new one, or end.
            Some(content) if takes_change => self.begin_change(now, incarnation, *content),
            Some(_) => self.end(now, Refusal::Channel(funnel_wire::mms::HResult::S_OK)),
            None => self.outbox.event(Event::Play(Play {
                framing: Framing::mms(incarnation.tag()),
                selection,
                accel: Accel::from(message.acceleration),
                keep_padding,
            })),
        }
    }

    /// §5.20: exactly one EndOfStream, the dword echoed; the media is dropped before.
    fn on_stop_playing(&mut self, message: &StopPlaying) {
        self.stop_media();
        if let State::Serving(Serving {
            phase: phase @ Phase::Streaming(_),
            ..
        }) = &mut self.state
        {
            *phase = Phase::Ready;
        }
        let play_incarnation = message.play_incarnation;
        self.outbox.message(ReportEndOfStream {
            play_incarnation,
            ..ReportEndOfStream::default()
        });
    }

    fn recognise(&mut self, player: Player) {
        self.player = player;
        self.agent = player.agent(&self.product);
    }
}

/// Applies one entry of a StreamSwitch; false if it turns on a stream that is not there.
fn apply(entry: &StreamEntry, streams: u128, selection: &mut Selection) -> bool {
    let number = |value: u16| {
        u8::try_from(value)
            .ok()
            .filter(|number| (1..=127).contains(number))
    };
    let (source, target) = (number(entry.source), number(entry.target));
    let level = match entry.thinning_level {
        0 => Thinning::All,
        1 => Thinning::KeyFramesOnly,
        _ => Thinning::Off,
    };
    if let Some(source) = source {
        selection.set(source, Thinning::Off);
    }
    match target {
        Some(target) if level == Thinning::Off => selection.set(target, level),
        Some(target) if streams & (1 << target) != 0 => selection.set(target, level),
        Some(_) => return false,
        None if entry.target == StreamEntry::NONE || entry.target == 0 => {} // switched off above, or padding
        None => return level == Thinning::Off,
    }
    true
}

impl From<Acceleration> for Accel {
    fn from(wishes: Acceleration) -> Self {
        let present = |value: Option<u32>| value.filter(|value| *value != 0);
        Self {
            bandwidth: present(wishes.bandwidth),
            duration_ms: present(wishes.duration_ms),
            link: present(wishes.link),
        }
    }
}

/// Peer text kept for the session's life.
fn bounded(text: &str) -> Box<str> {
    text.chars().take(128).collect::<String>().into_boxed_str()
}
