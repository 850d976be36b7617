//! One request's answer as it comes in: the head, the body without its coding, and what is in it.

use std::mem;

use funnel_asf::{Deframer, Header, Item, guid};
use funnel_wire::mms::HResult;
use funnel_wire::wmsp::{Body, BodyLength, Fragment, Packet, PacketKind, ResponseHead, StatusCode};

use super::super::CloseReason;
use super::super::inbox::Inbox;

/// An answer on its connection.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) connection: u32,
    /// As received.
    inbox: Inbox,
    /// Known once the head is there.
    body: Option<Body>,
    is_endless: bool,
    is_closed: bool,
    media: Media,
    header_bytes_max: usize,
}

/// What the body turns out to be.
#[derive(Debug)]
enum Media {
    /// Nothing has come of it.
    Undetected,
    /// Framed packets.
    Framed {
        content: Inbox,
        /// Fragments of a header so far.
        header: Vec<u8>,
    },
    /// Plain ASF; the number of the next packet.
    Plain(Box<Deframer>, u32),
}

/// What there is in an answer, in its order.
#[derive(Debug)]
pub(super) enum Unit {
    /// First line and fields.
    Head(ResponseHead),
    /// A whole ASF header.
    Header(Vec<u8>),
    /// An ASF packet: in the buffer that was lent.
    Packet { location: u32 },
    /// `$C`.
    Change,
    /// `$E`, or the end of the data in plain ASF.
    End(HResult),
    /// Nothing follows.
    Over {
        /// All came that the head promised, if it promised anything.
        is_whole: bool,
    },
}

impl Exchange {
    pub(super) fn new(connection: u32, header_bytes_max: usize) -> Self {
        Self {
            connection,
            inbox: Inbox::default(),
            body: None,
            is_endless: false,
            is_closed: false,
            media: Media::Undetected,
            header_bytes_max,
        }
    }

    pub(super) fn received(&mut self, bytes: &[u8]) {
        self.inbox.push(bytes);
    }

    pub(super) fn closed(&mut self) {
        self.is_closed = true;
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self.media, Media::Plain(..))
    }

    /// The next unit; `None`: more has to come. A packet is put into `packet`.
    pub(super) fn next(&mut self, packet: &mut Vec<u8>) -> Result<Option<Unit>, CloseReason> {
        loop {
            if self.body.is_none() {
                return self.next_head();
            }
            if let Some(unit) = self.next_of_media(packet)? {
                return Ok(Some(unit));
            }
            if !self.decode()? {
                return Ok(self.end());
            }
        }
    }

    fn next_head(&mut self) -> Result<Option<Unit>, CloseReason> {
        loop {
            let parsed = ResponseHead::parse(self.inbox.unread()).map_err(CloseReason::Http)?;
            let Some((head, size)) = parsed else {
                return Ok(self.is_closed.then_some(Unit::Over { is_whole: false }));
            };
            self.inbox.advance(size);
            if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
                continue; // the answer itself follows
            }
            self.body = Some(Body::new(head.length));
            self.is_endless = head.length == BodyLength::Unstated;
            return Ok(Some(Unit::Head(head)));
        }
    }

    /// Takes the coding off what has come; false: there was nothing.
    fn decode(&mut self) -> Result<bool, CloseReason> {
        let Some(body) = &mut self.body else {
            return Ok(false);
        };
        let taken = body.take(self.inbox.unread());
        let (size, content) = taken.map_err(CloseReason::Http)?;
        if content.is_empty() {
            self.inbox.advance(size);
            return Ok(size > 0);
        }
        if let Media::Undetected = self.media {
            self.media = Media::detect(content[0]);
        }
        match &mut self.media {
            Media::Plain(deframer, _) => deframer.push(content),
            Media::Framed { content: inbox, .. } => inbox.push(content),
            Media::Undetected => return Err(CloseReason::NoStream),
        }
        self.inbox.advance(size);
        Ok(true)
    }

    fn end(&mut self) -> Option<Unit> {
        let is_whole = self.is_endless || self.body.as_ref().is_some_and(Body::is_over);
        let is_over = self.is_closed || (is_whole && !self.is_endless);
        is_over.then_some(Unit::Over { is_whole })
    }

    fn next_of_media(&mut self, packet: &mut Vec<u8>) -> Result<Option<Unit>, CloseReason> {
        match &mut self.media {
            Media::Undetected => Ok(None),
            Media::Plain(deframer, location) => {
                let item = deframer
                    .next()
                    .map_err(|_| CloseReason::Damaged("ASF stream"))?;
                Ok(item.map(|item| match item {
                    Item::Header(header) => Unit::Header(header.bytes().to_vec()),
                    Item::Packet(bytes) => {
                        packet.clear();
                        packet.extend_from_slice(bytes);
                        let next = location.wrapping_add(1);
                        let location = mem::replace(location, next);
                        Unit::Packet { location }
                    }
                    Item::End => Unit::End(HResult::S_OK),
                }))
            }
            Media::Framed { content, header } => {
                next_framed(content, header, self.header_bytes_max, packet)
            }
        }
    }
}

impl Media {
    /// By the first byte.
    fn detect(first: u8) -> Self {
        if first & 0x7F == b'$' {
            Self::Framed {
                content: Inbox::default(),
                header: Vec::new(),
            }
        } else if first == guid::HEADER.as_bytes()[0] {
            Self::Plain(Box::default(), 0)
        } else {
            Self::Undetected
        }
    }
}

fn next_framed(
    content: &mut Inbox,
    header: &mut Vec<u8>,
    header_bytes_max: usize,
    packet: &mut Vec<u8>,
) -> Result<Option<Unit>, CloseReason> {
    loop {
        let (framed, size) = match Packet::split(content.unread()) {
            Ok(Some(split)) => split,
            Ok(None) => return Ok(None),
            Err(_) => return Err(CloseReason::Damaged("packet of HTTP streaming")),
        };
        let fragment = framed.fragment();
        let unit = match framed.kind {
            PacketKind::HEADER => {
                let fragment = fragment.ok_or(CloseReason::Damaged("$H"))?;
                add_fragment(fragment, header, header_bytes_max)?.map(Unit::Header)
            }
            PacketKind::DATA => {
                let fragment = fragment.ok_or(CloseReason::Damaged("$D"))?;
                packet.clear();
                packet.extend_from_slice(fragment.payload);
                Some(Unit::Packet {
                    location: fragment.location,
                })
            }
            PacketKind::CHANGE => Some(Unit::Change),
            PacketKind::END => Some(Unit::End(framed.reason())),
            _ => None, // metadata, and what is not known
        };
        content.advance(size);
        if unit.is_some() {
            return Ok(unit);
        }
    }
}

/// Adds a part of a header; the whole, once it is there.
fn add_fragment(
    fragment: Fragment<'_>,
    header: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, CloseReason> {
    if fragment.location == 0 || fragment.flags & Fragment::FIRST != 0 {
        header.clear();
    }
    header.extend_from_slice(fragment.payload);
    if header.len() > bytes_max {
        return Err(CloseReason::Damaged("ASF header size"));
    }
    // Not everybody sets the flags.
    let is_whole = fragment.is_last()
        || matches!(Header::wire_size(header), Ok(Some(size)) if header.len() >= size);
    Ok(is_whole.then(|| mem::take(header)))
}
