//! Media that flows: how it begins, and what is known while it does (§9.2).

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use funnel_asf::{Selection, Thinning};
use funnel_wire::mms::HResult;
use funnel_wire::wmsp::{
    Level, PacketKind, Product, StatusCode, StreamNumber, encode_fragments, encode_reason,
};

use super::clients::{Claim, Place};
use super::heads::Answer;
use super::request::Request;
use super::session::{ClientId, Session, State};
use super::{Accel, Event, Framing, Opened, Outbox, Play};

/// Media flows on this connection.
#[derive(Debug)]
pub(super) struct Stream {
    /// What there is to know of a player of the family; others get the channel's bytes and no more.
    pub(super) viewer: Option<Viewer>,
    /// Nothing more is read.
    pub(super) deaf: bool,
}

/// A player of the family while it plays.
#[derive(Debug)]
pub(super) struct Viewer {
    claim: Claim,
    pub(super) client: ClientId,
    pub(super) place: Place,
    pub(super) phase: Phase,
    /// In chunks: the connection can outlive the media.
    pub(super) is_chunked: bool,
    pub(super) keeps_connection: bool,
    keep_padding: bool,
    pub(super) tells_metadata: bool,
    /// It goes on after another header.
    pub(super) takes_change: bool,
    /// And begins with our choice of streams.
    pub(super) predicts: bool,
    /// So far is it behind.
    pub(super) lag: Duration,
    /// When it chose streams last.
    pub(super) switched_at: Option<Instant>,
    /// Number of the header, from 1.
    pub(super) entry: u32,
    /// Answers that must wait for the end of this one.
    pub(super) pending: Vec<u8>,
}

/// Where a player stands in a change of headers.
#[derive(Debug)]
pub(super) enum Phase {
    Flowing,
    /// The old header's media is over; the new header is told then.
    Leaving {
        at: Instant,
        content: Box<Opened>,
    },
    /// It may choose streams until then.
    Choosing {
        until: Instant,
    },
}

impl Stream {
    /// Whether what the peer says is thrown away.
    pub(super) fn is_deaf(&self) -> bool {
        self.deaf
    }

    pub(super) fn turn_deaf(&mut self) {
        self.deaf = true;
    }

    pub(super) fn change_due(&self) -> Option<Instant> {
        self.viewer.as_ref()?.change_due()
    }
}

impl Session {
    /// §9.2: the head, `[$M] $H`, media.
    pub(super) fn play(
        &mut self,
        now: Instant,
        request: &Request,
        client: ClientId,
        content: &Opened,
    ) {
        let place = Place {
            connection: self.connection(),
            streams: content.streams,
            selection: first_selection(request, content.streams),
        };
        let Some(claim) = self.settings.clients.claim(now, client.id, place) else {
            return self.refuse(request, StatusCode::BAD_REQUEST); // another connection was faster
        };
        let mut viewer = Viewer {
            claim,
            client,
            place,
            phase: Phase::Flowing,
            is_chunked: request.takes_chunks(),
            keeps_connection: request.head.keeps_connection(),
            keep_padding: request
                .agent
                .is_some_and(|agent| agent.product == Product::Server && !agent.is_at_least(5, 0)),
            tells_metadata: self.tells_metadata(request),
            takes_change: request.is_at_least(9),
            predicts: request
                .head
                .fields
                .lists("Supported", "com.microsoft.wm.predstrm"),
            lag: Duration::from_millis(u64::from(
                request.pragmas.number("client-lag").unwrap_or(0),
            ))
            .min(LAG_MAX),
            switched_at: None,
            entry: 1,
            pending: Vec::new(),
        };
        let (accel, granted) = acceleration(request);
        let answer = Answer {
            client: Some(client),
            tokens: self.tokens(request, 1) + &granted,
            ..Answer::default()
        };
        let mut out = Vec::new();
        self.begin_media(request, &answer, viewer.is_chunked, &mut out);
        let mut packets = self.header_packets(viewer.tells_metadata, viewer.entry, &content.header);
        if client.is_reset && expects_change(request) {
            encode_reason(PacketKind::END, HResult::S_FALSE, &mut packets);
            encode_reason(PacketKind::CHANGE, HResult::S_OK, &mut packets);
            encode_fragments(PacketKind::HEADER, 0, &content.header, &mut packets);
        }
        viewer.wrap(&packets, &mut out);
        self.outbox.send(&out);
        viewer.flow(accel, &mut self.outbox);
        self.state = State::Streaming(Box::new(Stream {
            viewer: Some(viewer),
            deaf: false,
        }));
    }

    /// §19: raw ASF, as large as the header says, until the end of the connection.
    pub(super) fn play_plain(&mut self, request: &Request, content: &Opened) {
        let mut out = Vec::new();
        self.begin_plain_head(request.head.version, StatusCode::OK, &mut out)
            .field("Content-Type", "video/x-ms-asf")
            .field("Connection", "close")
            .finish();
        if request.is_head() {
            self.outbox.send(&out);
            return self.close(HResult::S_OK);
        }
        out.extend_from_slice(&content.header);
        self.outbox.send(&out);
        self.outbox.event(Event::Play(Play {
            framing: Framing::ASF,
            selection: Selection::ALL,
            accel: Accel::default(),
            keep_padding: true,
        }));
        self.state = State::Streaming(Box::new(Stream {
            viewer: None,
            deaf: true,
        }));
    }

    /// The head of an answer whose body is media. That of chunks lacks its last line end: every chunk begins with one.
    pub(super) fn begin_media(
        &self,
        request: &Request,
        answer: &Answer,
        is_chunked: bool,
        out: &mut Vec<u8>,
    ) {
        let head = self
            .begin_head(request, answer, out)
            .field("Content-Type", "application/x-mms-framed");
        if is_chunked {
            let _ = head.field("Transfer-Encoding", "chunked");
        } else {
            head.field("Connection", "close").finish();
        }
    }
}

impl Viewer {
    /// When something is to be done about another header.
    pub(super) fn change_due(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Flowing => None,
            Phase::Leaving { at, .. } => Some(*at),
            Phase::Choosing { until } => Some(*until),
        }
    }

    pub(super) fn flows(&self) -> bool {
        matches!(self.phase, Phase::Flowing)
    }

    /// Adds packets to the media, as a chunk if it comes in chunks: one that stays open until the next one or the end.
    pub(super) fn wrap(&self, packets: &[u8], out: &mut Vec<u8>) {
        if self.is_chunked {
            let _ = write!(out, "\r\n{:X}\r\n", packets.len()); // memory never fails
        }
        out.extend_from_slice(packets);
    }

    /// Ends the chunks, and answers what had to wait for that.
    pub(super) fn unwrap(&mut self, out: &mut Vec<u8>) {
        if self.is_chunked {
            out.extend_from_slice(b"\r\n0\r\n\r\n");
            out.append(&mut self.pending);
        }
    }

    /// The media flows from now on.
    pub(super) fn flow(&mut self, accel: Accel, outbox: &mut Outbox) {
        self.phase = Phase::Flowing;
        self.claim.note(self.place);
        outbox.event(Event::Play(Play {
            framing: match self.is_chunked {
                true => Framing::chunked(0),
                false => Framing::wmsp(0),
            },
            selection: self.place.selection,
            accel,
            keep_padding: self.keep_padding,
        }));
    }

    /// These streams from now on, at once or when the media flows.
    pub(super) fn select(&mut self, now: Instant, selection: Selection, outbox: &mut Outbox) {
        self.place.selection = selection;
        self.switched_at = Some(now);
        match self.phase {
            Phase::Flowing => {
                self.claim.note(self.place);
                outbox.event(Event::Select(selection));
            }
            Phase::Choosing { .. } => self.flow(Accel::default(), outbox),
            Phase::Leaving { .. } => {} // those streams are over
        }
    }

    /// The channel's header is another one now, and the player knows.
    pub(super) fn enter(&mut self, streams: u128, selection: Selection) {
        self.place.streams = streams;
        self.place.selection = selection;
        self.entry += 1;
        self.claim.note(self.place);
    }
}

/// Applies a request's list of streams; false if it turns on one that is not there.
pub(super) fn choose(request: &Request, streams: u128, selection: &mut Selection) -> bool {
    let exists = |number: u16| number < 128 && streams & (1 << number) != 0;
    let resolve = |number: Option<StreamNumber>| {
        let number = number?.resolve(request.is_at_least(8), exists)?;
        u8::try_from(number).ok()
    };
    let mut is_there = true;
    for entry in request.pragmas.switch_entries() {
        if let Some(source) = resolve(entry.source) {
            selection.set(source, Thinning::Off);
        }
        let level = match entry.level {
            Level::All => Thinning::All,
            Level::KeyFrames => Thinning::KeyFramesOnly,
            Level::Off => Thinning::Off,
        };
        match resolve(entry.target) {
            Some(target) => selection.set(target, level),
            None => is_there &= entry.target.is_none() || level == Thinning::Off,
        }
    }
    is_there
}

/// The streams of a Play: all, if it names none, or none that is there (§8.2).
fn first_selection(request: &Request, streams: u128) -> Selection {
    let mut selection = Selection::NONE;
    let is_there = choose(request, streams, &mut selection);
    let is_list = request.pragmas.has("stream-switch-entry");
    if !is_list || !is_there && selection == Selection::NONE {
        return Selection::ALL;
    }
    selection
}

/// §9.2: old players that come again with an id we have forgotten begin as with another entry.
fn expects_change(request: &Request) -> bool {
    let context = request.pragmas.number("request-context");
    request.agent.is_some_and(|agent| match agent.product {
        Product::Player => agent.major < 7 && context == Some(2),
        Product::Server => agent.major < 7 && context == Some(3),
        _ => false,
    })
}

/// What a player wishes for its first part, and the tokens that grant it (§12): players from 8 on can read them.
fn acceleration(request: &Request) -> (Accel, String) {
    let is_player = request
        .agent
        .is_none_or(|agent| agent.product == Product::Player);
    let (rate, time, since) = match is_player {
        true => ("AccelBW", "AccelDuration", 8),
        false => ("BurstBW", "BurstDuration", 9),
    };
    let wish = |token| request.pragmas.number(token).filter(|value| *value != 0);
    let rate_max = if request.is_at_least(9) {
        u32::MAX
    } else {
        OLD_RATE_MAX
    };
    let accel = Accel {
        bandwidth: wish(rate).map(|bits| bits.min(rate_max)),
        duration_ms: wish(time),
        link: wish("LinkBW"),
    };
    let mut granted = String::new();
    if request.is_at_least(since)
        && let (Some(bits), Some(ms)) = (accel.bandwidth, accel.duration_ms)
    {
        let _ = write!(granted, ", {rate}={bits}, {time}={ms}"); // a String takes everything
    }
    (accel, granted)
}

/// Most that players before 9 may be granted, bit/s (§2.2).
const OLD_RATE_MAX: u32 = 1_048_576;
/// No player is told of another header later than that for being behind (§9.3).
const LAG_MAX: Duration = Duration::from_secs(15);
