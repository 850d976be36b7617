//! Our player and our server over HTTP, in virtual time: whoever the player is and whatever the server calls itself, every packet arrives,
//! before and behind another header.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use funnel_session::client::http::{self, Manner};
use funnel_session::client::{CloseReason, Event};
use funnel_session::server::{
    self, Clients, Framing, Input, Opened, Order, Output, Play, Redirect, Settings,
};
use funnel_session::{HResult, Header};

/// The header of a test file as a channel has it on air.
fn on_air(name: &str) -> Opened {
    let path = format!("{}/../../testdata/media/{name}", env!("CARGO_MANIFEST_DIR"));
    let header = Header::parse(&std::fs::read(path).unwrap()).unwrap();
    Opened {
        header: header.bytes().into(),
        packet_bytes: header.packet_bytes(),
        bit_rate: header.bit_rate(),
        streams: header.stream_mask(),
    }
}

fn channel() -> Opened {
    on_air("av-300k.wmv")
}

fn other_channel() -> Opened {
    on_air("h264-aac.asf")
}

/// A server with a session for each connection of a player, and the player.
struct Pair {
    now: Instant,
    settings: Arc<Settings>,
    player: http::Session,
    sessions: BTreeMap<u32, server::Session>,
    /// The channel as it is on air.
    channel: Opened,
    /// Where it is instead, if it is elsewhere.
    redirect: Option<Arc<Redirect>>,
    /// The connection that gets the media, how, and how many packets it got.
    playing: Option<(u32, Play, u32)>,
    location: u32,
    sent: Vec<Vec<u8>>,
    came: Vec<Vec<u8>>,
    headers: Vec<Vec<u8>>,
    notes: Vec<String>,
    framings: Vec<Framing>,
}

impl Pair {
    fn new(options: http::Options, identity: &str) -> Self {
        let now = Instant::now();
        let settings = Settings {
            http_identity: identity.into(),
            clients: Arc::new(Clients::default()),
            ..Settings::default()
        };
        let url = "http://radio.example:8080/live".parse().unwrap();
        Self {
            now,
            settings: Arc::new(settings),
            player: http::Session::new(Arc::new(url), Arc::new(options), now),
            sessions: BTreeMap::new(),
            channel: channel(),
            redirect: None,
            playing: None,
            location: 500,
            sent: Vec::new(),
            came: Vec::new(),
            headers: Vec::new(),
            notes: Vec::new(),
            framings: Vec::new(),
        }
    }

    /// Lets both talk until neither has more to say.
    fn drive(&mut self) {
        loop {
            match self.player.poll_output() {
                http::Output::Idle { .. } => return,
                http::Output::Connect { connection, .. } => {
                    let settings = Arc::clone(&self.settings);
                    let session = server::Session::new(settings, connection.into(), self.now);
                    self.sessions.insert(connection, session);
                }
                http::Output::Send { connection, bytes } => {
                    let bytes = bytes.to_vec();
                    self.serve(connection, Input::Received(&bytes));
                }
                http::Output::Disconnect { connection } => {
                    self.sessions.remove(&connection);
                    self.playing = self.playing.filter(|(playing, ..)| *playing != connection);
                }
                http::Output::Event(Event::Packet { bytes, .. }) => self.came.push(bytes.to_vec()),
                http::Output::Event(Event::Header(bytes)) => self.headers.push(bytes.to_vec()),
                http::Output::Event(Event::Opened(_) | Event::Connected { .. }) => {}
                http::Output::Event(Event::StreamChange(_)) => self.notes.push("change".into()),
                http::Output::Event(event) => self.notes.push(format!("{event:?}")),
            }
        }
    }

    /// Gives one session its input, and what it says to the player.
    fn serve(&mut self, connection: u32, input: Input<'_>) {
        let Some(session) = self.sessions.get_mut(&connection) else {
            return;
        };
        session
            .handle_input(self.now, input)
            .expect("our player is sound");
        let (mut bytes, mut asks, mut is_over) = (Vec::new(), None, false);
        let mut orders: Vec<(u32, Order)> = Vec::new();
        loop {
            match session.poll_output() {
                Output::Idle { .. } => break,
                Output::Send(part) => bytes.extend_from_slice(part),
                Output::Datagram(_) => panic!("a datagram over HTTP"),
                Output::Event(server::Event::Open(_)) => {
                    asks = Some(match &self.redirect {
                        Some(redirect) => Input::Redirected(Arc::clone(redirect)),
                        None => Input::Opened(Ok(self.channel.clone())),
                    });
                }
                Output::Event(server::Event::Play(play)) => {
                    self.framings.push(play.framing);
                    self.playing = Some((connection, play, play.framing.first_sequence(0)));
                }
                Output::Event(server::Event::StopMedia) => self.playing = None,
                Output::Event(server::Event::Order { connection, order }) => {
                    orders.push((connection, order));
                }
                Output::Event(server::Event::Close(_)) => is_over = true,
                Output::Event(_) => {}
            }
        }
        let now = self.now;
        if !bytes.is_empty() {
            self.player.handle_input(
                now,
                http::Input::Received {
                    connection,
                    bytes: &bytes,
                },
            );
        }
        if let Some(answer) = asks {
            return self.serve(connection, answer);
        }
        for (connection, order) in orders {
            self.serve(connection, Input::Order(order));
        }
        if is_over {
            self.sessions.remove(&connection);
            self.player
                .handle_input(now, http::Input::Closed { connection });
        }
    }

    /// Packets of the show, to whoever plays.
    fn media(&mut self, count: usize) {
        for _ in 0..count {
            let Some((connection, play, sequence)) = &mut self.playing else {
                panic!("nobody plays: {:?}", self.notes);
            };
            let body = vec![self.location as u8; self.channel.packet_bytes as usize];
            let mut head = [0; Framing::HEAD_BYTES_MAX];
            let size = play
                .framing
                .head(self.location, *sequence, body.len(), &mut head);
            let bytes = [&head[..size], &body].concat();
            let connection = *connection;
            *sequence += 1;
            self.location += 1;
            self.sent.push(body);
            self.player.handle_input(
                self.now,
                http::Input::Received {
                    connection,
                    bytes: &bytes,
                },
            );
            self.drive();
        }
    }

    fn tell_playing(&mut self, input: Input<'_>) {
        let (connection, ..) = self.playing.expect("somebody plays");
        self.serve(connection, input);
        self.drive();
    }
}

#[test]
fn every_packet_arrives_before_and_behind_another_header() {
    for identity in ["Rex/9.0.0.2980", "Cougar/9.5.6001.18281"] {
        for manner in [Manner::Player, Manner::Relay] {
            for wants_chunks in [false, true] {
                let options = http::Options {
                    manner,
                    wants_chunks,
                    ..http::Options::default()
                };
                let mut pair = Pair::new(options, identity);
                pair.drive();
                pair.media(300);
                pair.channel = other_channel();
                pair.tell_playing(Input::HeaderChanged(other_channel()));
                pair.media(300);
                pair.tell_playing(Input::MediaDrained);
                let name = format!("{identity} {manner:?}, chunks: {wants_chunks}");
                let end = format!("{:?}", Event::Close(CloseReason::Finished));
                assert_eq!(
                    pair.notes,
                    ["Started", "change", "End(0x00000000 S_OK)", &end],
                    "{name}"
                );
                assert_eq!(
                    pair.headers,
                    [channel().header.to_vec(), other_channel().header.to_vec()]
                );
                assert_eq!(pair.came.len(), 600, "{name}");
                assert_eq!(pair.came, pair.sent, "{name}");
                let chunked = pair
                    .framings
                    .iter()
                    .any(|framing| *framing != Framing::wmsp(0));
                assert_eq!(chunked, wants_chunks, "{name}");
            }
        }
    }
}

#[test]
fn plain_asf_ends_where_its_header_does() {
    let options = http::Options {
        manner: Manner::Plain,
        ..http::Options::default()
    };
    let mut pair = Pair::new(options, "Rex/9.0.0.2980");
    pair.drive();
    pair.media(100);
    assert_eq!(pair.framings, [Framing::ASF]);
    pair.tell_playing(Input::MediaDrained);
    let end = format!("{:?}", Event::Close(CloseReason::Finished));
    assert_eq!(pair.notes, ["Started", "End(0x00000000 S_OK)", &end]);
    assert_eq!(
        (pair.headers, pair.came),
        (vec![channel().header.to_vec()], pair.sent)
    );
}

#[test]
fn a_redirect_is_followed_and_a_refusal_told() {
    let mut pair = Pair::new(http::Options::default(), "Rex/9.0.0.2980");
    pair.redirect = Some(Arc::new(Redirect {
        mms: "mms://other.example/live".into(),
        http: "http://other.example/live".into(),
    }));
    for _ in 0..2 {
        pair.drive();
    }
    assert_eq!(pair.player.url().host, "other.example");
    let end = format!("{:?}", Event::Close(CloseReason::Redirected));
    assert_eq!(
        pair.notes.last(),
        Some(&end),
        "it leads to itself: {:?}",
        pair.notes
    );
    assert!(pair.sessions.is_empty());

    let mut pair = Pair::new(http::Options::default(), "Rex/9.0.0.2980");
    pair.drive();
    pair.media(3);
    pair.tell_playing(Input::Kick(HResult::NS_E_SHUTDOWN));
    assert!(
        pair.notes
            .last()
            .is_some_and(|note| note.starts_with("Close(")),
        "{:?}",
        pair.notes
    );
    assert!(pair.sessions.is_empty());
}
