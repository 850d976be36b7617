//! A channel that is elsewhere: players are sent there in their own protocol.

use crate::support::ffmpeg::{self, End};
use crate::support::http;
use crate::support::media::GOOD;
use crate::support::server::Setup;
use crate::support::viewer::{self, Event, Viewer, answer, ask};

#[test]
fn each_protocol_has_its_own_redirect() {
    let good = GOOD
        .iter()
        .find(|good| good.name == "metadata-unicode.wmv")
        .expect("listed");
    let mut setup = Setup::new();
    setup.file_once("there", &good.path(), good.speed);
    let there = setup.start();

    let mut setup = Setup::new();
    let target = there.http_url("there");
    setup.channel("here", &format!("redirect = {target:?}"));
    setup.channel("mms-here", "redirect = \"mms://there.example.org/show\"");
    let here = setup.start();

    // A player of Windows Media from version 7 on, and everybody else who speaks HTTP.
    for agent in [
        http::NEW_PLAYER,
        "NSPlayer/7.1.0.3055",
        "NSPlayer/7.10.0.3059",
        "curl/7.88.1",
        "Lavf/59.27.100",
    ] {
        let (head, _) = http::ask(here.http_address(), &http::get("/here", agent));
        assert_eq!(
            (head.status, head.field("Location")),
            (302, Some(target.as_str())),
            "{agent}"
        );
    }
    let wanted = ffmpeg::reference(good, here.folder());
    let url = here.http_url("here");
    ffmpeg::assert_decodes(
        good,
        &[&url],
        End::Heard,
        &wanted,
        &here.folder().join("seen"),
    );

    // Over MMS: a message of its own instead of the answer to OpenFile.
    let mut viewer = Viewer::connect(here.port());
    viewer.introduce();
    viewer.send(ask::OPEN_FILE, &viewer::open_file("mms-here"));
    let Event::Message { body, .. } = viewer.answer(answer::REDIRECT) else {
        unreachable!("an answer is a message")
    };
    let units = body[8..].chunks_exact(2);
    let units: Vec<u16> = units
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .collect();
    let text = String::from_utf16_lossy(&units);
    assert!(text.contains("mms://there.example.org/show"), "{text}");
    here.stop();
    there.stop();
}
