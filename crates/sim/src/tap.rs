//! Reads along on one player's wire and holds every byte against the book. Strict where a player would be lenient.

mod http;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use funnel_asf::Assembler;
use funnel_session::client::full_size_packet;
use funnel_wire::mms::{DataHeader, Frame, HResult, MacMessage, Traffic, split};

use self::http::{Chunk, Expected};
use crate::book::{Book, Stretch};

/// Checks one connection's bytes.
#[derive(Debug, Default)]
pub struct Tap {
    unread: Vec<u8>,
    position: u64,
    header: Option<HeaderInCourse>,
    /// The header the player holds.
    header_bytes: Vec<u8>,
    /// Its streams were selected: bodies are parts of what was published.
    pub selects: bool,
    /// After a StreamChange media may come unasked.
    may_come_unasked: bool,
    is_running: bool,
    /// AFFlags of the next packet, over all runs.
    sequence: u32,
    /// Runs of media so far.
    pub runs: Vec<Run>,
    /// What was wrong.
    pub faults: Vec<String>,
    /// What went over UDP in the present run, as a whole, and by its number: place in the channel and body.
    sent: HashSet<u64>,
    bodies: HashMap<u32, (u32, u64)>,
    /// Datagrams that came again.
    pub again: u64,
    /// What comes next over HTTP, and where in the chunks it comes in.
    expected: Expected,
    chunk: Option<Chunk>,
    /// What came with chunks' lines still in it.
    coded: Vec<u8>,
    /// Status of the answer, over HTTP.
    pub status: Option<u16>,
    /// EndOfStream that ended the session, and when.
    pub ended: Option<(HResult, Instant)>,
    scratch: Vec<u8>,
}

/// A payload: stream, object number, offset, bytes.
type Part = (u8, u32, u32, Vec<u8>);

#[derive(Debug)]
struct HeaderInCourse {
    tag: u8,
    bytes: Vec<u8>,
}

/// One run: from ReportStartedPlaying to its end.
#[derive(Debug)]
pub struct Run {
    /// When ReportStartedPlaying came.
    pub started_at: Instant,
    /// Its packets.
    pub packets: Vec<Received>,
    /// Packets between a gap's sides.
    pub skipped: u64,
    /// Stretches of the book whose bytes it could be, and where it stands in each.
    candidates: Vec<Stand>,
    tag: u8,
    assembler: Option<Box<Assembled>>,
    /// Worst time from publication to arrival, of packets published two seconds after the start or later.
    pub late_max: Duration,
}

/// One packet of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Received {
    /// Number in the channel.
    pub location: u64,
    /// When it was there.
    pub at: Instant,
    /// Bit n: stream n has a payload in it. Looked at only where streams are selected.
    pub streams: u128,
}

#[derive(Clone, Copy, Debug)]
struct Stand {
    stretch: usize,
    next: Option<u64>,
    joining: bool,
    skipped: u64,
    is_seam: bool,
}

#[derive(Debug)]
struct Assembled {
    assembler: Assembler,
    packets_left: u32,
    video_streams: Vec<u8>,
}

impl Tap {
    /// Bytes arrived at the player.
    pub fn bytes(&mut self, now: Instant, bytes: &[u8], book: &Book) {
        self.unread.extend_from_slice(bytes);
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        while self.faults.is_empty() {
            match split(rest, Traffic::MessagesAndData, self.position) {
                Ok(Some((frame, size))) => {
                    self.frame(now, frame, book);
                    self.position += size as u64;
                    rest = &rest[size..];
                }
                Ok(None) => break,
                Err(error) => self.fault(now, format!("not a stream of MMS: {error}")),
            }
        }
        let left = rest.len();
        self.unread = unread;
        self.unread.drain(..self.unread.len() - left);
    }

    /// A datagram left for the player. Called at the server's end, where nothing is overtaken.
    pub fn datagram(&mut self, now: Instant, bytes: &[u8], book: &Book) {
        match split(bytes, Traffic::MessagesAndData, 0) {
            Ok(Some((Frame::Data { header, payload }, size))) if size == bytes.len() => {
                if header.location_id.get() >> 4 == PAIR_LOCATION >> 4 && self.runs.is_empty() {
                    return;
                }
                let location = header.location_id.get();
                let last = self.runs.last().and_then(|run| run.packets.last());
                let is_next = last.is_none_or(|last| last.location < u64::from(location));
                if !is_next && self.sent.contains(&hash(bytes)) {
                    self.again += 1;
                    return;
                }
                let sequence = self.sequence;
                self.data(now, header, payload, book);
                if self.sequence != sequence {
                    self.sent.insert(hash(bytes));
                    let number = self.sequence - 1;
                    self.bodies.insert(number, (location, hash(payload)));
                    self.check_due(now, u64::from(location), book);
                }
            }
            _ => self.fault(now, "a datagram that is not one Data packet".into()),
        }
    }

    /// The player's session told a packet. Each must come once, in order, and as it was sent.
    pub fn told(&mut self, next: &mut Option<u32>, location: u32, sequence: u32, bytes: &[u8]) {
        self.tell(next, sequence, 1);
        let told = (location, hash(bytes));
        let as_sent = self.bodies.get(&sequence) == Some(&told);
        // A player that gives all its runs one tag may take a late packet of the last run for the first of this one,
        // and counts on from there.
        let may_be_off = self.runs.len() > 1 && self.bodies.values().any(|sent| *sent == told);
        if !as_sent && !may_be_off {
            self.faults.push(format!(
                "packet {location} told as number {sequence} was not sent so"
            ));
        }
    }

    /// The player's session gave packets up.
    pub fn lost(&mut self, next: &mut Option<u32>, sequence: u32, count: u32) {
        self.tell(next, sequence, count);
    }

    fn tell(&mut self, next: &mut Option<u32>, sequence: u32, count: u32) {
        if next.is_some_and(|next| next != sequence) {
            self.faults
                .push(format!("number {sequence} is told where {next:?} is due"));
        }
        *next = Some(sequence + count);
    }

    /// Over paced transports nothing goes out before its time.
    fn check_due(&mut self, now: Instant, location: u64, book: &Book) {
        let due = (book.stretches.iter())
            .filter(|stretch| stretch.header.bytes() == &self.header_bytes[..])
            .filter_map(|stretch| Some(stretch.packet(location)?.due_at))
            .min();
        if due.is_some_and(|due| due > now) {
            self.fault(now, format!("packet {location} goes out before its time"));
        }
    }

    /// Packets in all runs.
    pub fn packets(&self) -> usize {
        self.runs.iter().map(|run| run.packets.len()).sum()
    }

    /// Packets missed within runs.
    pub fn skipped(&self) -> u64 {
        self.runs.iter().map(|run| run.skipped).sum()
    }

    /// Bytes of an incomplete unit.
    pub fn torn_bytes(&self) -> usize {
        self.unread.len() + self.coded.len()
    }

    fn fault(&mut self, now: Instant, what: String) {
        let runs = self.runs.len();
        self.faults.push(format!(
            "{what} (run {runs}, byte {}, {now:?})",
            self.position
        ));
    }

    fn frame(&mut self, now: Instant, frame: Frame<'_>, book: &Book) {
        match frame {
            Frame::Data { header, payload } => self.data(now, header, payload, book),
            Frame::Message(frame) => {
                for (mid, body) in frame.messages() {
                    match MacMessage::decode(mid, body) {
                        Ok(message) => self.message(now, &message),
                        Err(error) => self.fault(now, format!("damaged message: {error}")),
                    }
                }
            }
        }
    }

    fn message(&mut self, now: Instant, message: &MacMessage) {
        if self.ended.is_some() && !matches!(message, MacMessage::ReportEndOfStream(_)) {
            // Late answers to a player that goes on asking are allowed, media is not.
            self.may_come_unasked = false;
        }
        match message {
            MacMessage::ReportReadBlock(report) if !report.hr.is_error() => {
                self.await_header(report.play_incarnation.tag());
            }
            MacMessage::ReportStreamChange(report) => {
                if self.is_running {
                    self.fault(now, "StreamChange without EndOfStream before it".into());
                }
                self.await_header(report.header_incarnation.tag());
                self.may_come_unasked = true;
            }
            MacMessage::ReportStartedPlaying(report) if !report.hr.is_error() => {
                self.begin(now, report.play_incarnation.tag());
            }
            MacMessage::ReportEndOfStream(report) => {
                self.is_running = false;
                if report.hr != HResult::S_FALSE {
                    self.ended = Some((report.hr, now));
                }
            }
            _ => {}
        }
    }

    fn await_header(&mut self, tag: u8) {
        self.header = Some(HeaderInCourse {
            tag,
            bytes: Vec::new(),
        });
    }

    fn begin(&mut self, now: Instant, tag: u8) {
        self.is_running = true;
        self.sent.clear();
        self.may_come_unasked = false;
        self.ended = None;
        if self.sequence & 0xFF == 0xFF {
            self.sequence += 1; // after 0xFE comes 0x00 (protocol page §3.2)
        }
        self.runs.push(Run {
            started_at: now,
            packets: Vec::new(),
            skipped: 0,
            candidates: Vec::new(),
            tag,
            assembler: None,
            late_max: Duration::ZERO,
        });
    }

    fn data(&mut self, now: Instant, head: DataHeader, payload: &[u8], book: &Book) {
        if let Some(header) = self
            .header
            .as_mut()
            .filter(|header| header.tag == head.play_incarnation)
        {
            header.bytes.extend_from_slice(payload);
            if head.ends_asf_header() {
                self.header_bytes = std::mem::take(&mut header.bytes);
                self.header = None;
                let known = book
                    .stretches
                    .iter()
                    .any(|stretch| stretch.header.bytes() == &self.header_bytes[..]);
                if !known {
                    self.fault(now, "a header nobody announced".into());
                }
            }
            return;
        }
        if !self.is_running
            && self.may_come_unasked
            && head.play_incarnation == DataHeader::INCARNATION_STREAM_CHANGE
        {
            self.begin(now, head.play_incarnation);
        }
        self.media(now, head, payload, book);
    }

    fn media(&mut self, now: Instant, head: DataHeader, body: &[u8], book: &Book) {
        let location = u64::from(head.location_id.get());
        let Some(run) = self.runs.last_mut().filter(|_| self.is_running) else {
            return self.fault(now, format!("packet {location} outside of a run"));
        };
        if head.play_incarnation != run.tag {
            let tag = head.play_incarnation;
            return self.fault(
                now,
                format!("packet {location} with the tag {tag} of another run"),
            );
        }
        if head.af_flags != self.sequence.to_le_bytes()[0] {
            let (is, due) = (head.af_flags, self.sequence.to_le_bytes()[0]);
            return self.fault(
                now,
                format!("packet {location} is number {is}, due is {due}"),
            );
        }
        self.sequence += 1;
        if run
            .packets
            .last()
            .is_some_and(|last| last.location >= location)
        {
            return self.fault(now, format!("packet {location} comes again, or late"));
        }
        run.packets.push(Received {
            location,
            at: now,
            streams: 0,
        });
        let result = if self.selects {
            run.check_part(&self.header_bytes, location, body, book)
        } else {
            run.check_whole(now, &self.header_bytes, location, body, book)
        };
        let result = result.and_then(|()| {
            run.assemble(
                self.selects,
                &self.header_bytes,
                body,
                book,
                &mut self.scratch,
            )
        });
        if let Err(what) = result {
            self.fault(now, what);
        }
    }
}

impl Run {
    /// The body is one of the packet's forms for a viewer that stands where this one does.
    fn check_whole(
        &mut self,
        now: Instant,
        header: &[u8],
        location: u64,
        body: &[u8],
        book: &Book,
    ) -> Result<(), String> {
        if self.candidates.is_empty() && self.packets.len() == 1 {
            let of_header = |(_, stretch): &(usize, &Stretch)| stretch.header.bytes() == header;
            self.candidates = (book.stretches.iter().enumerate().filter(of_header))
                .map(|(stretch, _)| Stand {
                    stretch,
                    next: None,
                    joining: false,
                    skipped: 0,
                    is_seam: false,
                })
                .collect();
        }
        self.candidates = (self.candidates.iter())
            .filter_map(|stand| advance(*stand, &book.stretches[stand.stretch], location, body))
            .collect();
        let Some(stand) = self.candidates.last() else {
            return Err(format!(
                "packet {location} ({} bytes) is not what was published, or not where it may stand",
                body.len()
            ));
        };
        if stand.is_seam || stand.skipped > self.skipped {
            self.assembler = None; // objects under way are lost at either
        }
        self.skipped = (self.candidates.iter().map(|stand| stand.skipped).min()).unwrap_or(0);
        let published = book.stretches[stand.stretch].packet(location);
        if let Some(at) = published.map(|published| published.at)
            && at > self.started_at + Duration::from_secs(2)
        {
            self.late_max = self.late_max.max(now.saturating_duration_since(at));
        }
        Ok(())
    }

    /// Every payload of the body is one of the packet's.
    fn check_part(
        &mut self,
        header: &[u8],
        location: u64,
        body: &[u8],
        book: &Book,
    ) -> Result<(), String> {
        let parts = |bytes: &[u8]| -> Option<Vec<Part>> {
            let layout = funnel_asf::Layout::parse(bytes).ok()?;
            Some(
                (layout.payloads().iter())
                    .map(|p| (p.stream(), p.number(), p.offset(), bytes[p.data()].to_vec()))
                    .collect(),
            )
        };
        let received = parts(body).ok_or_else(|| format!("packet {location} is damaged"))?;
        let known = book
            .stretches
            .iter()
            .filter(|stretch| stretch.header.bytes() == header)
            .filter_map(|stretch| parts(&stretch.packet(location)?.full))
            .any(|published| received.iter().all(|part| published.contains(part)));
        if let Some(last) = self.packets.last_mut() {
            last.streams = received.iter().fold(0, |mask, part| mask | 1 << part.0);
        }
        if known {
            Ok(())
        } else {
            Err(format!("packet {location} holds what was not published"))
        }
    }

    /// What follows a join is whole objects, video from a key frame on. Looks at the first packets only: that is where a
    /// cut would show.
    fn assemble(
        &mut self,
        selects: bool,
        header: &[u8],
        body: &[u8],
        book: &Book,
        scratch: &mut Vec<u8>,
    ) -> Result<(), String> {
        let Some(stretch) = book
            .stretches
            .iter()
            .find(|stretch| stretch.header.bytes() == header)
        else {
            return Ok(());
        };
        let assembled = self
            .assembler
            .get_or_insert_with(|| Box::new(Assembled::new(stretch)));
        if assembled.packets_left == 0 {
            return Ok(());
        }
        assembled.packets_left -= 1;
        full_size_packet(body, stretch.header.packet_bytes() as usize, scratch);
        let mut objects = Vec::new();
        assembled
            .assembler
            .packet(scratch, &mut objects)
            .map_err(|error| format!("damaged packet: {error}"))?;
        // A switch cuts what the old selection had under way, as a join cuts what it finds (asf.md §12.2).
        if assembled.assembler.dropped() > 0 && !selects {
            return Err("a media object was cut".into());
        }
        for object in objects {
            if let Some(at) = (assembled.video_streams.iter()).position(|n| *n == object.stream) {
                assembled.video_streams.swap_remove(at);
                if !object.key {
                    return Err(format!(
                        "stream {} begins without a key frame",
                        object.stream
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Assembled {
    fn new(stretch: &Stretch) -> Self {
        let streams = stretch.header.streams().iter();
        Self {
            assembler: Assembler::new(&stretch.header),
            packets_left: 96,
            video_streams: streams
                .filter(|stream| stream.is_video())
                .map(|stream| stream.number)
                .collect(),
        }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// `LocationId` of packet-pair datagrams, but for the last digit (protocol page §3.1).
const PAIR_LOCATION: u32 = 0xF0F0_F000;

/// Where a viewer stands after this packet, if it may get it where it stands.
fn advance(stand: Stand, stretch: &Stretch, location: u64, body: &[u8]) -> Option<Stand> {
    let packet = stretch.packet(location)?;
    let after = |joining: bool, skipped| Stand {
        next: Some(location + 1),
        joining: joining && !packet.join_done,
        skipped,
        is_seam: packet.seam,
        ..stand
    };
    if let Some(next) = stand.next
        && let Some(joining) = walk(stretch, next, location, stand.joining)
    {
        let joining = joining && !packet.clean_point;
        if packet.bodies(joining).contains(&body) {
            return Some(after(joining, stand.skipped));
        }
    }
    // A join: at a clean point whose followers up to here hold nothing for a joiner; or at the very first packet.
    if let Some(at) = stretch.clean_point_before(location)
        && stand.next.is_none_or(|next| next < at)
        && (at == location || walk(stretch, at, location, true).is_some())
        && packet.bodies(true).contains(&body)
    {
        let skipped = stand.next.map_or(0, |next| at - next);
        return Some(after(true, stand.skipped + skipped));
    }
    let whole = stand.next.is_none() && location == 0 && packet.bodies(false).contains(&body);
    whole.then(|| after(false, 0))
}

/// From `from` to just before `to` without a packet missing: whether the viewer is still joining there.
fn walk(stretch: &Stretch, from: u64, to: u64, mut joining: bool) -> Option<bool> {
    for seq in from..to {
        let packet = stretch.packet(seq)?;
        joining &= seq == from || !packet.clean_point;
        if !joining || !packet.join.is_empty() {
            return None;
        }
        joining &= !packet.join_done;
    }
    Some(joining)
}
