//! The test of pipelining: do two requests that were sent at once also come at once (§5.3)? In between, a chunk is left open.

use std::time::{Duration, Instant};

use funnel_wire::wmsp::{PacketHead, PacketKind, StatusCode};

use super::heads::Answer;
use super::request::Request;
use super::session::Session;

/// How far the test is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test {
    None,
    /// The second request is in time until then.
    Running {
        until: Instant,
    },
    Over,
}

impl Session {
    /// One of the two requests came.
    pub(super) fn test_pipelining(&mut self, now: Instant, request: &Request) {
        let mut out = Vec::new();
        match self.test {
            Test::None => {
                let until = now + TEST_TIME;
                self.begin_media(request, &Answer::default(), true, &mut out);
                let test = PacketHead::new(PacketKind::PIPELINE_TEST, 0).encode();
                out.extend_from_slice(b"\r\n4\r\n");
                out.extend_from_slice(&test);
                out.extend_from_slice(b"\r\n");
                self.outbox.send(&out);
                self.await_request(now);
                self.test = Test::Running { until };
            }
            Test::Running { .. } => {
                self.end_test();
                self.tell_test(now, request, 1);
            }
            Test::Over => self.tell_test(now, request, 0),
        }
    }

    /// Ends the chunk of the test, if there is one.
    pub(super) fn end_test(&mut self) {
        if let Test::Running { .. } = self.test {
            self.outbox.send(b"0\r\n\r\n");
            self.test = Test::Over;
        }
    }

    fn tell_test(&mut self, now: Instant, request: &Request, result: u8) {
        let answer = Answer {
            tokens: format!(", pipeline-result={result}"),
            ..Answer::of(StatusCode::NO_CONTENT)
        };
        self.answer(now, request, answer);
    }

    /// Whether a player that asks may test it.
    pub(super) fn offers_pipelining(&self, request: &Request) -> bool {
        request.pragmas.is_set("pipeline-experiment")
            && request.is_http_11()
            && self.tells_metadata(request)
    }
}

/// Time for the second request (§9.3).
const TEST_TIME: Duration = Duration::from_secs(1);
