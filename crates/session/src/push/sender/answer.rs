//! The server's answers, as they come in.

use std::mem;

use funnel_wire::wmsp::{Body, BodyLength, Fault, ResponseHead};

/// A response as it comes in.
#[derive(Debug, Default)]
pub(super) struct Answer {
    unread: Vec<u8>,
    head: Option<(ResponseHead, Body)>,
    text: Vec<u8>,
}

impl Answer {
    /// Takes the next bytes of the server.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The server closed: the head of a response whose body is not whole, if there is one.
    pub(super) fn cut_short(&mut self) -> Option<ResponseHead> {
        self.head.take().map(|(head, _)| head)
    }

    /// The beginning of the last response's body.
    pub(super) fn take_text(&mut self) -> Vec<u8> {
        mem::take(&mut self.text)
    }

    /// The next response, once all of it is there.
    pub(super) fn step(&mut self) -> Result<Option<ResponseHead>, Fault> {
        if self.head.is_none() {
            let Some((head, size)) = ResponseHead::parse(&self.unread)? else {
                return Ok(None);
            };
            self.unread.drain(..size);
            // Without a length it lasts until the server closes: nobody waits for that.
            let length = match head.length {
                BodyLength::Unstated => BodyLength::Sized(0),
                length => length,
            };
            self.head = Some((head, Body::new(length)));
        }
        let Some((_, body)) = &mut self.head else {
            return Ok(None);
        };
        while !body.is_over() {
            let (taken, content) = body.take(&self.unread)?;
            let room = TEXT_BYTES_MAX.saturating_sub(self.text.len());
            self.text.extend(content.iter().take(room));
            self.unread.drain(..taken);
            if taken == 0 {
                return Ok(None);
            }
        }
        Ok(self.head.take().map(|(head, _)| head))
    }
}

/// The value of the server's cookie.
pub(super) fn push_id(head: &ResponseHead) -> Option<String> {
    let cookies = head.fields.all("Set-Cookie");
    let pairs = cookies.filter_map(|cookie| cookie.split(';').next()?.split_once('='));
    let mut ids = pairs.filter(|(name, _)| name.trim() == "push-id");
    ids.next().map(|(_, id)| id.trim().to_owned())
}

/// As much of an error's text as anybody reads.
const TEXT_BYTES_MAX: usize = 300;
