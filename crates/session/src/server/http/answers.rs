//! What each request does (§5), when no media flows on its connection.

use std::time::Instant;

use funnel_wire::mms::{ClientLog, HResult};
use funnel_wire::wmsp::{Method, StatusCode};

use super::clients::{Known, Place};
use super::heads::Answer;
use super::request::{Request, Wish};
use super::session::{ClientId, Opening, Session, State};
use super::stream::choose;
use super::{Event, Opened, Order};

impl Session {
    /// Serves a request that is whole.
    pub(super) fn serve(&mut self, now: Instant, request: Request, body: &[u8]) {
        if matches!(self.state, State::Streaming(_)) {
            return self.serve_beside(now, &request, body);
        }
        match request.wish {
            Wish::Plain => self.open(request, None),
            Wish::Describe | Wish::Play => match self.client_of(now, &request) {
                Some(client) => self.open(request, Some(client)),
                None => self.refuse(&request, StatusCode::BAD_REQUEST), // it plays: nobody takes it over (§9.2)
            },
            Wish::SelectStream | Wish::Stop => self.pass_order_on(now, &request),
            Wish::KeepAlive => self.keep_alive(now, &request),
            Wish::Log | Wish::RemoteEvent | Wish::ContentInfo => {
                let answer = Answer {
                    client: self.known_client(now, &request),
                    ..self.heed(&request, body)
                };
                self.answer(now, &request, answer);
            }
            Wish::Pipeline => self.test_pipelining(now, &request),
            Wish::PlayNextEntry | Wish::HandOver(_) => {
                self.refuse(&request, StatusCode::BAD_REQUEST);
            }
            Wish::Refuse(status) => self.refuse(&request, status),
        }
    }

    /// The channel was looked up for a request.
    pub(super) fn on_opened(&mut self, now: Instant, answer: Result<Opened, HResult>) {
        let Some(opening) = self.take_opening() else {
            return;
        };
        let Opening { request, client } = *opening;
        match answer {
            Err(hr) => self.refuse_channel(&request, hr),
            Ok(content) if content.header.is_empty() => {
                self.refuse(&request, StatusCode::INTERNAL_SERVER_ERROR);
            }
            Ok(content) => match (request.wish, client) {
                (Wish::Play, Some(client)) if !request.is_head() => {
                    self.play(now, &request, client, &content);
                }
                (_, Some(client)) => self.describe(now, &request, client, &content),
                (_, None) => self.play_plain(&request, &content),
            },
        }
    }

    fn open(&mut self, request: Request, client: Option<ClientId>) {
        match request.open_request() {
            Some(channel) => {
                self.outbox.event(Event::Open(channel));
                self.state = State::Opening(Box::new(Opening { request, client }));
            }
            None => self.refuse(&request, StatusCode::URI_TOO_LONG),
        }
    }

    fn describe(&mut self, now: Instant, request: &Request, client: ClientId, content: &Opened) {
        let body = self.header_packets(self.tells_metadata(request), 1, &content.header);
        let mut tokens = self.tokens(request, 1);
        if self.offers_pipelining(request) {
            tokens.push_str(", pipeline-experiment=1");
        }
        let answer = Answer {
            client: Some(client),
            tokens,
            fields: vec![("Content-Type", "application/vnd.ms.wms-hdr.asfv1".into())],
            body,
            ..Answer::default()
        };
        self.answer(now, request, answer);
    }

    /// Whose session it is; `None`: one that plays already.
    fn client_of(&mut self, now: Instant, request: &Request) -> Option<ClientId> {
        let clients = &self.settings.clients;
        let named = request.pragmas.client_id();
        match named.map(|id| (id, clients.touch(now, id))) {
            Some((_, Known::Streaming(_))) => None,
            Some((id, Known::Idle)) => Some(ClientId::known(id)),
            Some((_, Known::No)) | None => {
                let random = &mut self.random;
                let candidates = std::iter::from_fn(|| Some((random.next() >> 32) as u32));
                Some(ClientId {
                    id: clients.issue(now, candidates),
                    is_reset: named.is_some(),
                })
            }
        }
    }

    /// What is asked here for media that flows on another connection (§5.2).
    fn pass_order_on(&mut self, now: Instant, request: &Request) {
        let change = |place: &mut Place| {
            let order = match request.wish {
                Wish::Stop => Order::Stop,
                _ if choose(request, place.streams, &mut place.selection) => {
                    Order::Select(place.selection)
                }
                _ => return None,
            };
            Some((place.connection, order))
        };
        let client = request.pragmas.client_id();
        let order = client.and_then(|id| self.settings.clients.change(now, id, change)?);
        match order {
            Some((connection, order)) => {
                self.outbox.event(Event::Order { connection, order });
                let answer = Answer {
                    client: self.known_client(now, request),
                    ..Answer::default()
                };
                self.answer(now, request, answer);
            }
            None => self.refuse(request, StatusCode::BAD_REQUEST),
        }
    }

    fn keep_alive(&mut self, now: Instant, request: &Request) {
        let client = self.known_client(now, request);
        if client.is_none() && request.head.method != Method::OPTIONS {
            return self.refuse(request, StatusCode::BAD_REQUEST);
        }
        let answer = Answer {
            client,
            ..keep_alive_answer(request)
        };
        self.answer(now, request, answer);
    }

    /// The player's id, if it names one that is known: it lives on.
    fn known_client(&self, now: Instant, request: &Request) -> Option<ClientId> {
        let named = request.pragmas.client_id();
        let known = named.filter(|id| self.settings.clients.touch(now, *id) != Known::No);
        known.map(ClientId::known)
    }

    /// What is only to be heard.
    pub(super) fn heed(&mut self, request: &Request, body: &[u8]) -> Answer {
        if request.wish != Wish::Log {
            return Answer::default();
        }
        let log = match request.pragmas.text("log-line") {
            Some(line) => ClientLog::from_line(line),
            None => ClientLog::from_xml(body),
        };
        self.outbox.event(Event::ClientLog(Box::new(log)));
        Answer::of(StatusCode::NO_CONTENT)
    }
}

/// The answer to a KeepAlive, without the client id.
pub(super) fn keep_alive_answer(request: &Request) -> Answer {
    let mut answer = Answer::default();
    if request.head.method == Method::OPTIONS {
        answer.fields = vec![
            ("Public", "GET, POST, OPTIONS".into()),
            ("Allow", "OPTIONS".into()),
        ];
    }
    answer
}
