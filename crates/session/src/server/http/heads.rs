//! The heads of answers, in the family's way and in everybody's, and answers that are little more (§3, §14).

use std::fmt::Write as _;
use std::time::Instant;

use funnel_wire::mms::HResult;
use funnel_wire::wmsp::{
    Description, HeadWriter, Metadata, PacketKind, Product, StatusCode, UserAgent, Version,
    encode_fragments,
};

use super::request::{Request, Wish};
use super::session::{ClientId, Session};
use super::{TIMEOUT, status};

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
    /// Only a status.
    pub(super) fn of(status: StatusCode) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }
}

impl Session {
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
        // 204 tells its length, too: that is what servers of the family do (§17).
        let mut head = self
            .begin_head(request, answer, out)
            .field("Content-Length", answer.body.len());
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
        self.refuse_for(request, status, status::reason(status));
    }

    /// The same, for what the owner says about the channel.
    pub(super) fn refuse_channel(&mut self, request: &Request, hr: HResult) {
        self.refuse_for(request, status::of(hr), hr);
    }

    /// The same for a request that cannot be read.
    pub(super) fn refuse_unread(&mut self, status: StatusCode) {
        self.refuse_plainly(Version::HTTP_11, status, false);
        self.close(status::reason(status));
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

    /// What a Describe or Play tells of the channel and its `entry`th header.
    pub(super) fn tokens(&self, request: &Request, entry: u32) -> String {
        let features = match request.is_at_least(9) {
            true => NEW_FEATURES,
            false => OLD_FEATURES,
        };
        let mut tokens = format!(", features=\"{features}\"");
        if self.tells_metadata(request) {
            let _ = write!(tokens, ", playlist-gen-id={entry}"); // a String takes everything
        }
        tokens
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
        self.is_full_server() && request.is_at_least(9)
    }

    /// Whether we claim to be a server with everything.
    fn is_full_server(&self) -> bool {
        let identity = UserAgent::parse(&self.settings.http_identity);
        identity.is_some_and(|us| us.product == Product::Cougar && us.is_at_least(9, 0))
    }

    fn refuse_for(&mut self, request: &Request, status: StatusCode, reason: HResult) {
        if request.is_of_family() {
            let mut out = Vec::new();
            self.encode(request, &Answer::of(status), false, &mut out);
            self.outbox.send(&out);
        } else {
            self.refuse_plainly(request.head.version, status, request.is_head());
        }
        self.close(reason);
    }

    fn refuse_plainly(&mut self, version: Version, status: StatusCode, is_head: bool) {
        let more = match status {
            StatusCode::NOT_FOUND => ": no channel has this name; / lists those that there are",
            _ => "",
        };
        let text = format!("{status}{more}\n");
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
    }

    /// Whether the connection stays after this answer. Old players wait for the close behind a header (§2.1), and who does
    /// not ask to stay would only keep its place among the viewers.
    fn keeps(&self, request: &Request, status: StatusCode) -> bool {
        let asks = request.head.fields.lists("Connection", "keep-alive");
        let stays = match request.wish {
            Wish::Describe => request.is_at_least(9) && asks || self.offers_pipelining(request),
            _ => true,
        };
        status.is_success() && stays && request.head.keeps_connection()
    }
}

/// §7, with the one description every list has, in no language and with nothing in it.
fn metadata(entry: u32) -> Vec<u8> {
    let metadata = Metadata {
        playlist_gen_id: entry,
        broadcast_id: 1,
        features: NEW_FEATURES.into(),
        descriptions: vec![Description::default()],
    };
    metadata.encode()
}

/// For players that must know that other headers may follow (§4, §11), from 9 on.
const NEW_FEATURES: &str = "broadcast,playlist";
const OLD_FEATURES: &str = "broadcast";
/// Streams may be switched, and after another header we go on with all of them unasked.
const SUPPORTED: &str = "com.microsoft.wm.sswitch, com.microsoft.wm.predstrm";
/// Where the text that viewers' programs look for stands, as in ReportConnectedEX over MMS.
const VERSION_INFO: &str = "X-Version-Info";
