//! The requests of each protocol, as its encoders make them.

use std::time::Instant;

use funnel_wire::wmsp::{HeadWriter, Method, Version};

use super::{Output, Protocol, Request, Sender, Stage};

impl Sender {
    /// Makes the request that is due, on a connection that stands.
    pub(super) fn ask(&mut self, now: Instant) {
        let mut out = Vec::new();
        let first = self.queue.front().map_or(0, Vec::len);
        let must_wait = match self.request {
            Request::None => false,
            Request::Setup => {
                self.head(&mut out, &Method::POST, |head| {
                    head.field("Content-Type", "application/x-wms-pushsetup")
                        .field("Content-Length", 0)
                });
                true
            }
            Request::Start => {
                let length = self.budget.begin();
                self.head(&mut out, &Method::POST, |head| {
                    head.field("Content-Type", "application/x-wms-pushstart")
                        .field("Content-Length", length)
                });
                false
            }
            Request::Post => {
                // Who has a login asks first: a body cannot be taken back.
                let asks_first = self.options.url.login.is_some() && !self.guard.is_known();
                self.head(&mut out, &Method::POST, |head| {
                    let head = head.field("Transfer-Encoding", "chunked");
                    if asks_first {
                        head.field("Expect", "100-continue")
                    } else {
                        head
                    }
                });
                asks_first
            }
            Request::Put => {
                self.head(&mut out, &Method::PUT, |head| {
                    head.field("Content-Length", first)
                });
                out.extend(self.queue.front().into_iter().flatten());
                true
            }
        };
        if !out.is_empty() {
            self.out.push_back(Output::Send(out));
        }
        self.since = now;
        if must_wait {
            self.stage = Stage::Asked;
        } else {
            self.open(now);
        }
    }

    fn head<'a>(
        &mut self,
        out: &'a mut Vec<u8>,
        method: &Method,
        more: impl FnOnce(HeadWriter<'a>) -> HeadWriter<'a>,
    ) {
        let url = &self.options.url;
        let target = match url.path.starts_with('?') {
            true => url.path.clone(),
            false => format!("/{}", url.path),
        };
        let login = url.login.as_ref();
        let authorization = login.and_then(|login| self.guard.answer(login, method, &target));
        let head = HeadWriter::request(out, method, &target, Version::HTTP_11)
            .field("Host", url.authority());
        let mut head = match self.options.protocol {
            Protocol::WindowsMedia => head
                .field("User-Agent", WINDOWS_MEDIA_ENCODER)
                .field("X-Accept-Authentication", "Negotiate, NTLM, Digest, Basic")
                .field("Cache-Control", "no-cache")
                .field("Connection", "Keep-Alive")
                .field("Cookie", format_args!("push-id={}", self.push_id)),
            _ => head
                .field("User-Agent", &self.options.agent)
                .field("Accept", "*/*")
                .field("Content-Type", "video/x-ms-asf"),
        };
        if let Some(authorization) = authorization {
            head = head.field("Authorization", authorization);
        }
        more(head).finish();
    }
}

/// Of Windows 7; servers look at the first word.
const WINDOWS_MEDIA_ENCODER: &str = "WMEncoder/12.0.7601.17514";
