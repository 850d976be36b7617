//! Every dialogue in `testdata/dialogues/http` goes as it is written there, however the requests are cut on their way.

mod common;
mod web;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_session::HResult;
use funnel_session::server::{Event, Input, Redirect, Settings};
use web::Web;

#[test]
fn every_dialogue() {
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../testdata/dialogues/http"
    ));
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    names.sort();
    assert!(names.len() >= 15, "{names:?}");
    let mut differ = Vec::new();
    for path in names {
        let script = std::fs::read_to_string(&path).unwrap();
        assert!(script.contains("\n# Origin: "), "{}", path.display());
        for piece_bytes in [usize::MAX, 1, 7] {
            let written = play(&script, piece_bytes);
            if written != script {
                println!(
                    "==== {} in pieces of {piece_bytes}\n{written}",
                    path.display()
                );
                differ.push(path.clone());
                break;
            }
        }
    }
    assert!(
        differ.is_empty(),
        "these went differently, as shown above: {differ:?}"
    );
}

/// The script as it went: what was said by the server is replaced by what it says now.
fn play(script: &str, piece_bytes: usize) -> String {
    let mut stage = Stage::new(piece_bytes);
    let mut written = String::new();
    let mut lines = script.lines().peekable();
    while let Some(line) = lines.next() {
        let is_output = line.starts_with(['<', '!', '[']) && !is_turn(line);
        if is_output {
            continue;
        }
        written += &format!("{line}\n");
        let said = if let Some(first) = line.strip_prefix('>') {
            let mut request = sent(first);
            while let Some(more) = lines.next_if(|line| line.starts_with('>')) {
                written += &format!("{more}\n");
                request += &sent(&more[1..]);
            }
            stage.send(&request)
        } else if let Some(action) = line.strip_prefix("* ") {
            stage.act(action)
        } else if let Some(setting) = line.strip_prefix("with identity ") {
            stage.set_identity(setting);
            Vec::new()
        } else if let Some(number) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            stage.turn_to(number.parse().unwrap());
            Vec::new()
        } else {
            assert!(
                line.is_empty() || line.starts_with('#'),
                "what is {line:?}?"
            );
            Vec::new()
        };
        for line in said {
            written += &format!("{line}\n");
        }
    }
    written
}

/// `[2]`: from here on it is about the second connection.
fn is_turn(line: &str) -> bool {
    line.starts_with('[') && line.find(']') == Some(line.len() - 1)
}

/// The bytes of a line behind its `>`: a line with its end, or behind `|` without one.
fn sent(line: &str) -> String {
    match line.strip_prefix('|') {
        Some(text) => text.strip_prefix(' ').unwrap_or(text).to_owned(),
        None => format!("{}\r\n", line.strip_prefix(' ').unwrap_or(line)),
    }
}

/// Connections to one server.
struct Stage {
    piece_bytes: usize,
    settings: Arc<Settings>,
    now: Instant,
    connections: BTreeMap<u64, Web>,
    current: u64,
    /// Client ids by the letters that stand for them.
    ids: Vec<(String, String)>,
}

impl Stage {
    fn new(piece_bytes: usize) -> Self {
        Self {
            piece_bytes,
            settings: settings(&Settings::default().http_identity),
            now: Instant::now(),
            connections: BTreeMap::new(),
            current: 1,
            ids: Vec::new(),
        }
    }

    fn set_identity(&mut self, identity: &str) {
        self.settings = settings(identity);
    }

    fn turn_to(&mut self, number: u64) {
        self.current = number;
    }

    fn web(&mut self) -> &mut Web {
        let web = || Web::at(&self.settings, self.current, self.now);
        self.connections.entry(self.current).or_insert_with(web)
    }

    fn send(&mut self, request: &str) -> Vec<String> {
        let mut request = request.to_owned();
        for (letter, id) in &self.ids {
            request = request.replace(letter, id);
        }
        let piece_bytes = self.piece_bytes;
        let web = self.web();
        let before = web.events.len();
        let mut said = Vec::new();
        for piece in request.as_bytes().chunks(piece_bytes.min(request.len())) {
            said.extend(web.input(Input::Received(piece)));
        }
        self.finish(said, before)
    }

    /// What the owner does, or time.
    fn act(&mut self, action: &str) -> Vec<String> {
        let (what, value) = action.split_once(' ').unwrap_or((action, ""));
        if what == "wait" {
            let time = Duration::from_secs_f64(value.parse().unwrap());
            let current = self.current;
            self.now += time;
            let mut said = Vec::new();
            for (number, web) in &mut self.connections {
                let lines = web.wait(time);
                said.extend(
                    lines
                        .into_iter()
                        .map(|line| attributed(line, *number, current)),
                );
            }
            return said;
        }
        if what == "gone" {
            let current = self.current;
            self.connections.remove(&current);
            return Vec::new();
        }
        let web = self.web();
        let before = web.events.len();
        let said = match (what, value) {
            ("media", count) => web.media(count.parse().unwrap()),
            ("drained", _) => web.input(Input::MediaDrained),
            ("other", "header") => web.input(Input::HeaderChanged(common::other_channel())),
            ("kick", _) => web.input(Input::Kick(HResult::NS_E_SHUTDOWN)),
            ("shutdown", _) => web.input(Input::Shutdown),
            ("undecided", _) => {
                web.channel = None;
                Vec::new()
            }
            ("refused", code) => {
                let known = HResult::KNOWN.iter().find(|hr| hr.name() == Some(code));
                web.channel = Some(Err(*known.unwrap()));
                Vec::new()
            }
            ("opened", _) => web.input(Input::Opened(Ok(common::channel()))),
            ("redirected", _) => web.input(Input::Redirected(Arc::new(Redirect {
                mms: "mms://other/live".into(),
                http: "http://other:8080/live".into(),
            }))),
            _ => panic!("what is {action:?}?"),
        };
        self.finish(said, before)
    }

    /// Carries out orders, and lets letters stand for ids.
    fn finish(&mut self, mut said: Vec<String>, before: usize) -> Vec<String> {
        let current = self.current;
        for event in self.web().events[before..].to_vec_of_orders() {
            let (connection, order) = event;
            for (number, web) in &mut self.connections {
                if web.session.client_id() == connection {
                    let lines = web.input(Input::Order(order));
                    said.extend(
                        lines
                            .into_iter()
                            .map(|line| attributed(line, *number, current)),
                    );
                }
            }
        }
        for line in &mut said {
            self.name_ids(line);
        }
        said
    }

    fn name_ids(&mut self, line: &mut String) {
        let Some((_, behind)) = line.split_once("client-id=") else {
            return;
        };
        let id: String = behind.chars().take_while(char::is_ascii_digit).collect();
        if !self.ids.iter().any(|(_, known)| *known == id) {
            let letter = char::from(b'a' + self.ids.len() as u8);
            self.ids.push((format!("{{{letter}}}"), id.clone()));
        }
        for (letter, known) in &self.ids {
            *line = line.replace(
                &format!("client-id={known}"),
                &format!("client-id={letter}"),
            );
        }
    }
}

fn settings(identity: &str) -> Arc<Settings> {
    Arc::new(Settings {
        product: "funnel/0.1.0".into(),
        http_identity: identity.into(),
        ..Settings::default()
    })
}

fn attributed(line: String, number: u64, current: u64) -> String {
    match number == current {
        true => line,
        false => format!("[{number}] {line}"),
    }
}

trait Orders {
    fn to_vec_of_orders(&self) -> Vec<(u32, funnel_session::server::Order)>;
}

impl Orders for [Event] {
    fn to_vec_of_orders(&self) -> Vec<(u32, funnel_session::server::Order)> {
        let order = |event: &Event| match event {
            Event::Order { connection, order } => Some((*connection, *order)),
            _ => None,
        };
        self.iter().filter_map(order).collect()
    }
}
