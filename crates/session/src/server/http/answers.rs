//! The answers to requests: heads in the family's way and in everybody's, and what each request does (§3, §5, §14).

use std::fmt::Write as _;
use std::time::Instant;

use funnel_wire::mms::HResult;
use funnel_wire::wmsp::{
    HeadWriter, Method, PacketKind, Product, StatusCode, UserAgent, Version, encode_fragments,
};

use super::clients::{Known, Place};
use super::request::{Request, Wish};
use super::session::{ClientId, Opening, Session, State};
use super::status;
use super::stream::choose;
use super::{Event, Opened, Order, TIMEOUT};

/// What is said in an answer besides what all answers say.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) client: Option<ClientId>,
    /// Further tokens of `Pragma`, each with `, ` in front.
    pub(super) tokens: String,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// An error.
    pub(super) fn refusal(status: StatusCode) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }
}

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
                let answer = self.heed(&request, body);
                self.answer(now, &request, answer);
            }
            Wish::Pipeline | Wish::PlayNextEntry | Wish::HandOver(_) => {
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
            Err(hr) => self.refuse(&request, status::of(hr)),
            Ok(content) if content.header.is_empty() => {
                self.refuse(&request, StatusCode::INTERNAL_SERVER_ERROR);
            }
            Ok(content) => match (request.wish, client) {
                (Wish::Play, Some(client)) => self.play(now, &request, client, &content),
                (_, Some(client)) => self.describe(now, &request, client, &content),
                (_, None) => self.play_plain(&request, &content),
            },
        }
    }

    /// Says a whole answer, and goes on or closes as is fit.
    pub(super) fn answer(&mut self, now: Instant, request: &Request, answer: Answer) {
        let keeps = self.keeps(request, answer.status);
        let mut out = Vec::new();
        self.encode(request, &answer, keeps, &mut out);
        self.outbox.send(&out);
        if keeps {
            self.await_request(now);
        } else {
            self.close(status::reason(answer.status));
        }
    }

    /// Writes an answer in the family's way.
    pub(super) fn encode(
        &self,
        request: &Request,
        answer: &Answer,
        keeps: bool,
        out: &mut Vec<u8>,
    ) {
        let mut head = self.begin_head(request, answer, out);
        if !matches!(answer.status, StatusCode::NO_CONTENT) {
            head = head.field("Content-Length", answer.body.len());
        }
        match (keeps, request.is_http_11()) {
            (false, _) => head = head.field("Connection", "close"),
            (true, false) => head = head.field("Connection", "Keep-Alive"),
            (true, true) => {}
        }
        head.finish();
        if !request.is_head() {
            out.extend_from_slice(&answer.body);
        }
    }

    /// First line, what every answer to the family says, and the answer's own fields.
    pub(super) fn begin_head<'a>(
        &self,
        request: &Request,
        answer: &Answer,
        out: &'a mut Vec<u8>,
    ) -> HeadWriter<'a> {
        let mut pragma = String::from("no-cache");
        if let Some(client) = answer.client {
            let _ = write!(pragma, ", client-id={}", client.id); // a String takes everything
            if client.is_reset {
                pragma.push_str(", xResetStrm=1");
            }
            let _ = write!(pragma, ", timeout={}", TIMEOUT.as_millis());
        }
        pragma.push_str(&answer.tokens);
        let mut head = HeadWriter::response(out, request.head.version, answer.status)
            .field("Server", &self.settings.http_identity)
            .field("Pragma", pragma)
            .field("Cache-Control", "no-cache");
        if request.is_at_least(9) {
            head = head.field("Supported", SUPPORTED);
        }
        if !self.settings.version_info.is_empty() {
            head = head.field(VERSION_INFO, &self.settings.version_info);
        }
        for (name, value) in &answer.fields {
            head = head.field(name, value);
        }
        head
    }

    /// The same for everybody else; `Cougar` or `Rex` here would send mplayer away (§19).
    pub(super) fn begin_plain_head<'a>(
        &self,
        version: Version,
        status: StatusCode,
        out: &'a mut Vec<u8>,
    ) -> HeadWriter<'a> {
        let mut head = HeadWriter::response(out, version, status)
            .field("Server", &self.settings.product)
            .field("Cache-Control", "no-cache");
        if !self.settings.version_info.is_empty() {
            head = head.field(VERSION_INFO, &self.settings.version_info);
        }
        head
    }

    /// Answers with an error and closes.
    pub(super) fn refuse(&mut self, request: &Request, status: StatusCode) {
        if !request.is_of_family() {
            return self.refuse_plainly(request.head.version, status, request.is_head());
        }
        let mut out = Vec::new();
        self.encode(request, &Answer::refusal(status), false, &mut out);
        self.outbox.send(&out);
        self.close(status::reason(status));
    }

    /// The same for a request that cannot be read.
    pub(super) fn refuse_unread(&mut self, status: StatusCode) {
        self.refuse_plainly(Version::HTTP_11, status, false);
    }

    /// §14.1: the address of the channel elsewhere.
    pub(super) fn redirect(&mut self, request: &Request, location: &str) {
        let status = StatusCode::FOUND;
        let mut out = Vec::new();
        if request.is_of_family() {
            let answer = Answer {
                status,
                fields: vec![("Location", location.to_owned())],
                ..Answer::default()
            };
            self.encode(request, &answer, false, &mut out);
        } else {
            self.begin_plain_head(request.head.version, status, &mut out)
                .field("Location", location)
                .field("Content-Length", 0)
                .field("Connection", "close")
                .finish();
        }
        self.outbox.send(&out);
        self.close(HResult::S_OK);
    }

    /// What a Describe or Play tells of the session and its channel, without the client id.
    pub(super) fn tokens(&self, request: &Request) -> String {
        // Newer players must know that other headers may follow (§4, §11).
        let features = match request.is_at_least(9) {
            true => ", features=\"broadcast,playlist\"",
            false => ", features=\"broadcast\"",
        };
        let entry = self
            .tells_metadata(request)
            .then_some(", playlist-gen-id=1");
        [features, entry.unwrap_or_default()].concat()
    }

    /// The packets a header comes in, behind metadata for who waits for it (§2.2).
    pub(super) fn header_packets(
        &self,
        tells_metadata: bool,
        entry: u32,
        header: &[u8],
    ) -> Vec<u8> {
        let mut packets = Vec::with_capacity(header.len() + 256);
        if tells_metadata {
            encode_fragments(PacketKind::METADATA, 0, &metadata(entry), &mut packets);
        }
        encode_fragments(PacketKind::HEADER, 0, header, &mut packets);
        packets
    }

    /// As `Cougar` from 9 on we owe metadata to players from 9 on (§2.2).
    pub(super) fn tells_metadata(&self, request: &Request) -> bool {
        let identity = UserAgent::parse(&self.settings.http_identity);
        let owes = identity.is_some_and(|us| us.product == Product::Cougar && us.is_at_least(9, 0));
        owes && request.is_at_least(9)
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
        let answer = Answer {
            client: Some(client),
            tokens: self.tokens(request),
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
            Some((id, Known::Idle)) => Some(ClientId {
                id,
                is_reset: false,
            }),
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
                self.answer(now, request, Answer::default());
            }
            None => self.refuse(request, StatusCode::BAD_REQUEST),
        }
    }

    fn keep_alive(&mut self, now: Instant, request: &Request) {
        let named = request.pragmas.client_id();
        let known = named.filter(|id| self.settings.clients.touch(now, *id) != Known::No);
        let is_options = request.head.method == Method::OPTIONS;
        if known.is_none() && !is_options {
            return self.refuse(request, StatusCode::BAD_REQUEST);
        }
        let answer = keep_alive_answer(known, is_options);
        self.answer(now, request, answer);
    }

    /// What is only to be heard.
    pub(super) fn heed(&mut self, request: &Request, _body: &[u8]) -> Answer {
        let status = match request.wish {
            Wish::Log => StatusCode::NO_CONTENT,
            _ => StatusCode::OK,
        };
        Answer {
            status,
            ..Answer::default()
        }
    }

    fn refuse_plainly(&mut self, version: Version, status: StatusCode, is_head: bool) {
        let text = format!("{status}\n");
        let mut out = Vec::new();
        let mut head = self.begin_plain_head(version, status, &mut out);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            head = head.field("Allow", "GET, HEAD, POST, PUT, OPTIONS");
        }
        head.field("Content-Type", "text/plain; charset=utf-8")
            .field("Content-Length", text.len())
            .field("Connection", "close")
            .finish();
        if !is_head {
            out.extend_from_slice(text.as_bytes());
        }
        self.outbox.send(&out);
        self.close(status::reason(status));
    }

    /// Whether the connection stays after this answer. Old players wait for the close behind a header (§2.1).
    fn keeps(&self, request: &Request, status: StatusCode) -> bool {
        let is_patient = request.is_at_least(9) || request.wish != Wish::Describe;
        status.is_success() && is_patient && request.head.keeps_connection()
    }
}

/// The answer to a KeepAlive.
pub(super) fn keep_alive_answer(client: Option<u32>, is_options: bool) -> Answer {
    let client = client.map(|id| ClientId {
        id,
        is_reset: false,
    });
    let mut answer = Answer {
        client,
        ..Answer::default()
    };
    if is_options {
        answer.fields = vec![
            ("Public", "GET, POST, OPTIONS".into()),
            ("Allow", "OPTIONS".into()),
        ];
    }
    answer
}

/// §7, with the one description every list has: the language, which is not told.
fn metadata(entry: u32) -> Vec<u8> {
    format!(
        "playlist-gen-id={entry}, broadcast-id=1, features=\"broadcast,playlist\"\0{NO_LANGUAGE}\r\n"
    )
    .into_bytes()
}

const NO_LANGUAGE: &str = "8,language,31,0,";
/// Streams may be switched, and after another header we go on with all of them unasked.
const SUPPORTED: &str = "com.microsoft.wm.sswitch, com.microsoft.wm.predstrm";
/// Where the text that viewers' programs look for stands, as in ReportConnectedEX over MMS.
const VERSION_INFO: &str = "X-Version-Info";
