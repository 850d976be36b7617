//! Windows Media push, row by row of `docs/protocol/wmsp.md` §20.4, and the bodies of §20.2 and §20.3; in virtual time.

mod push_desk;

use funnel_session::push::Input;
use push_desk::*;

const ENDLESS: u64 = 2_147_483_647;

#[test]
fn a_setup_is_answered_as_encoders_insist_on() {
    let mut desk = Desk::new();
    let id = desk.connect(1);
    assert_eq!(
        desk.say(id, post(SETUP, Some(0), "AutoDestroy: 1\r\n")),
        "0:204"
    );
    assert!(desk.answers[0].1.starts_with("HTTP/1.1 204 No Content\r\n"));
    assert!(desk.field("Server").starts_with("Cougar/9."));
    assert_eq!(desk.field("Set-Cookie"), format!("push-id={PUSH_ID}"));
    assert_eq!(desk.field("Pragma"), "no-cache, timeout=60000");
    assert_eq!(desk.field("Cache-Control"), "no-cache");
    assert_eq!(desk.field("Content-Length"), "0");
    assert_eq!(desk.field("Connection"), "Keep-Alive");
    // HTTP/1.0 is allowed, and the body may be empty.
    let id = desk.connect(2);
    let old = post(SETUP, None, "").replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(desk.say(id, old), "1:204");
    assert!(desk.answers[1].1.starts_with("HTTP/1.0 204"));
}

#[test]
fn only_encoders_set_up() {
    for (request, answer) in [
        (
            post(SETUP, None, "").replace("WMEncoder/", "NSPlayer/"),
            "0:400 0:close",
        ),
        (
            post(SETUP, None, "").replace("POST", "PUT"),
            "0:400 0:close",
        ),
        (head(SETUP, None, ""), "0:411 0:close"),
        (
            head(SETUP, None, "Transfer-Encoding: chunked\r\n"),
            "0:411 0:close",
        ),
        (
            head(SETUP, None, "Content-Length: 4097\r\n"),
            "0:413 0:close",
        ),
        (
            post(SETUP, None, "").replace("POST", "GET"),
            "0:400 0:close",
        ),
    ] {
        let mut desk = Desk::new();
        let id = desk.connect(1);
        assert_eq!(desk.say(id, &request), answer, "{request}");
        assert!(desk.wake_at.is_none(), "nothing is left of it");
    }
}

#[test]
fn an_unknown_push_id_is_refused() {
    let mut desk = Desk::new();
    let id = desk.connect(1);
    assert_eq!(desk.say(id, post(SETUP, Some(77), "")), "0:400 0:close");
}

#[test]
fn a_session_that_is_streaming_elsewhere_is_not_set_up_again() {
    let mut desk = Desk::new();
    desk.encoder(1, "", ENDLESS);
    let other = desk.connect(1);
    assert_eq!(
        desk.say(other, post(SETUP, Some(PUSH_ID.into()), "")),
        "1:409 1:close"
    );
    assert_eq!(
        desk.say(0, packet(b'D', &asf().1[0])),
        "media",
        "undisturbed"
    );
}

#[test]
fn a_new_encoder_takes_the_place_of_the_last_if_that_is_wanted() {
    let mut desk = Desk::with(None, true);
    desk.encoder(1, "", ENDLESS);
    let other = desk.connect(2);
    assert_eq!(desk.say(other, post(SETUP, Some(0), "")), "1:204");
    let start = head(
        START,
        Some(u64::from(PUSH_ID) + 1),
        "Content-Length: 1000000\r\n",
    );
    assert_eq!(desk.say(other, start), "0:409 0:close began");
    assert_eq!(desk.say(other, packet(b'H', &asf().0)), "media");
    assert_eq!(
        desk.say(0, packet(b'D', &asf().1[0])),
        "",
        "the first one is not heard any more"
    );
}

#[test]
fn a_template_does_not_matter_for_a_channel_that_exists() {
    let mut desk = Desk::new();
    desk.encoder(1, "Template-URL: \"/other\"\r\nAutoDestroy: 0\r\n", ENDLESS);
    assert_eq!(desk.say(0, end(0)), "away 0:204");
}

#[test]
fn packets_count_as_they_arrive() {
    let mut desk = Desk::new();
    let id = desk.connect(1);
    desk.say(id, post(SETUP, Some(0), ""));
    let begin = head(
        START,
        Some(PUSH_ID.into()),
        "Content-Length: 2147483647\r\n",
    );
    assert_eq!(desk.say(id, begin), "began");
    let (header, packets) = asf();
    let all = [
        packet(b'H', &header),
        packet(b'D', &packets[0]),
        packet(b'D', &packets[1]),
    ]
    .concat();
    let whole = all
        .chunks(100)
        .filter(|piece| desk.say(id, piece) == "media")
        .count();
    assert!(
        whole >= 3,
        "each packet is told when it is complete, not with the body"
    );
    assert_eq!(desk.items(), "hdd");
}

#[test]
fn a_start_without_setup_makes_a_session() {
    for cookie in [None, Some(0), Some(12345)] {
        let mut desk = Desk::new();
        let id = desk.connect(1);
        let start = head(START, cookie, "Content-Length: 2147483647\r\n");
        assert_eq!(desk.say(id, start), "began", "{cookie:?}");
        assert_eq!(desk.say(id, packet(b'H', &asf().0)), "media");
    }
}

#[test]
fn a_second_start_of_a_running_session_is_refused() {
    let mut desk = Desk::new();
    desk.encoder(1, "", ENDLESS);
    let other = desk.connect(1);
    let start = head(
        START,
        Some(PUSH_ID.into()),
        "Content-Length: 2147483647\r\n",
    );
    assert_eq!(desk.say(other, start), "1:409 1:close");
    assert_eq!(desk.say(0, packet(b'D', &asf().1[0])), "media");
}

#[test]
fn setup_and_start_come_on_different_connections() {
    for cookie in [Some(PUSH_ID.into()), None, Some(0)] {
        let mut desk = Desk::new();
        let (first, second) = (desk.connect(1), desk.connect(1));
        desk.say(first, post(SETUP, Some(0), "AutoDestroy: 1\r\n"));
        let start = head(START, cookie, "Content-Length: 2147483647\r\n");
        assert_eq!(desk.say(second, start), "began");
        assert_eq!(desk.close(first), "0:close");
        desk.say(second, packet(b'H', &asf().0));
        assert_eq!(
            desk.say(second, end(0)),
            "over 1:204",
            "it is the same session: {cookie:?}"
        );
    }
}

#[test]
fn the_idle_timer_is_restarted_by_media_alone() {
    let mut desk = Desk::new();
    desk.encoder(1, "", ENDLESS);
    let media = [
        packet(b'D', &asf().1[0]),
        packet(b'H', &asf().0),
        packet(b'C', &[&[0; 4][..], &asf().0].concat()),
    ];
    for packet in media {
        assert_eq!(desk.wait(second(59)), "");
        assert_eq!(desk.say(0, packet), "media");
    }
    assert_eq!(desk.wait(second(40)), "");
    assert_eq!(
        desk.say(0, packet(b'F', &[0; 1000])),
        "",
        "filler is no media"
    );
    assert_eq!(desk.wait(second(19)), "");
    assert_eq!(desk.wait(second(1)), "away 0:408 0:close");
    assert_eq!(desk.field("Connection"), "close");
    assert!(desk.wake_at.is_none(), "the session is forgotten");
    let id = desk.connect(1);
    assert_eq!(
        desk.say(id, post(SETUP, Some(PUSH_ID.into()), "")),
        "1:400 1:close"
    );
}

#[test]
fn a_session_without_a_body_is_forgotten_after_two_minutes() {
    let mut desk = Desk::new();
    let id = desk.connect(1);
    desk.say(id, post(SETUP, Some(0), ""));
    assert_eq!(desk.wait(second(119)), "");
    assert_eq!(desk.wait(second(1)), "0:close");
    assert!(desk.wake_at.is_none());
}

#[test]
fn the_end_ends_the_session_and_the_show_if_it_was_said_so() {
    for (setup, end_word) in [
        ("", "away"),
        ("AutoDestroy: 0\r\n", "away"),
        ("autodestroy:1", "over"),
    ] {
        for reason in [0, 0x8000_4005] {
            let mut desk = Desk::new();
            desk.encoder(1, setup, ENDLESS);
            assert_eq!(desk.say(0, end(reason)), format!("{end_word} 0:204"));
        }
        let mut desk = Desk::new();
        desk.encoder(1, setup, ENDLESS);
        assert_eq!(desk.wait(second(60)), format!("{end_word} 0:408 0:close"));
    }
}

#[test]
fn after_its_end_an_encoder_sets_up_again_on_the_same_connection() {
    let mut desk = Desk::new();
    desk.encoder(1, "", ENDLESS);
    // Behind the end comes filler, or nothing; then the next request, perhaps in the same bytes.
    let again = [
        end(0),
        packet(b'F', &[b'P'; 10]),
        post(SETUP, Some(0), "").into_bytes(),
    ]
    .concat();
    assert_eq!(desk.say(0, again), "away 0:204 0:204");
    let start = head(
        START,
        Some(PUSH_ID.into()),
        "Content-Length: 2147483647\r\n",
    );
    assert_eq!(desk.say(0, start), "began");
    assert_eq!(desk.say(0, packet(b'H', &asf().0)), "media");
    assert_eq!(
        desk.say(0, [end(0), b"\0".to_vec()].concat()),
        "away 0:204 0:close"
    );
}

#[test]
fn a_connection_lost_inside_a_body_is_resumed() {
    let mut desk = Desk::new();
    desk.encoder(1, "AutoDestroy: 1\r\n", ENDLESS);
    let (_, packets) = asf();
    desk.say(0, packet(b'D', &packets[0]));
    desk.say(0, &packet(b'D', &packets[1])[..50]);
    assert_eq!(desk.close(0), "paused 0:close");
    assert_eq!(desk.wait(second(59)), "");
    let id = desk.connect(1);
    let start = head(
        START,
        Some(PUSH_ID.into()),
        "Content-Length: 2147483647\r\n",
    );
    assert_eq!(desk.say(id, start), "", "no new run");
    assert_eq!(desk.say(id, packet(b'D', &packets[2])), "media");
    assert_eq!(
        desk.items(),
        "hdd",
        "what was cut off is left out, what follows is understood"
    );
    // And with another setup before it, as §20.1 has it.
    desk.close(id);
    let id = desk.connect(1);
    assert_eq!(desk.say(id, post(SETUP, Some(PUSH_ID.into()), "")), "2:204");
    assert_eq!(desk.field("Set-Cookie"), format!("push-id={PUSH_ID}"));
    let start = head(START, None, "Content-Length: 2147483647\r\n");
    assert_eq!(desk.say(id, start), "");
    assert_eq!(desk.say(id, packet(b'D', &packets[3])), "media");
    assert_eq!(desk.items(), "hddd");
    // Else its idle timer ends it.
    desk.close(id);
    assert_eq!(desk.wait(second(60)), "away");
}

#[test]
fn a_lost_encoder_does_not_keep_its_place_from_others() {
    let mut desk = Desk::new();
    desk.encoder(1, "", ENDLESS);
    desk.close(0);
    // One from the same machine, started anew: at once. One from elsewhere: after 5 s.
    let other = desk.connect(2);
    assert_eq!(desk.say(other, post(SETUP, Some(0), "")), "1:409 1:close");
    let again = desk.connect(1);
    assert_eq!(desk.say(again, post(SETUP, Some(0), "")), "2:204");
    assert_eq!(desk.wait(second(5)), "");
    let other = desk.connect(2);
    assert_eq!(desk.say(other, post(SETUP, Some(0), "")), "3:204");
    let start = head(
        START,
        Some(u64::from(PUSH_ID) + 3),
        "Content-Length: 2147483647\r\n",
    );
    assert_eq!(desk.say(other, start), "began");
    // Nor one that hangs with its connection open.
    assert_eq!(desk.wait(second(5)), "");
    let third = desk.connect(3);
    assert_eq!(desk.say(third, post(SETUP, Some(0), "")), "4:204");
    let start = head(
        START,
        Some(u64::from(PUSH_ID) + 4),
        "Content-Length: 2147483647\r\n",
    );
    assert_eq!(desk.say(third, start), "3:409 3:close began");
}

#[test]
fn a_body_rolls_over_without_a_seam() {
    let (header, packets) = asf();
    let first = [
        packet(b'H', &header),
        packet(b'D', &packets[0]),
        packet(b'F', &[0; 9]),
    ]
    .concat();
    let mut desk = Desk::new();
    let id = desk.connect(1);
    desk.say(id, post(SETUP, Some(0), ""));
    let length = format!("Content-Length: {}\r\n", first.len());
    desk.say(id, head(START, Some(PUSH_ID.into()), &length));
    assert_eq!(desk.say(id, &first[..first.len() - 1]), "media");
    assert_eq!(
        desk.say(id, &first[first.len() - 1..]),
        "0:204",
        "at the exact end"
    );
    assert!(desk.field("Server").starts_with("Cougar/9."));
    // The next body has no header. It may come late, but not after the inactivity timer.
    assert_eq!(desk.wait(second(100)), "");
    let next = [packet(b'D', &packets[1]), packet(b'D', &packets[2])].concat();
    let length = format!("Content-Length: {}\r\n", next.len());
    let request = [
        head(START, Some(PUSH_ID.into()), &length).into_bytes(),
        next,
    ]
    .concat();
    assert_eq!(desk.say(id, request), "media 0:204");
    assert_eq!(desk.items(), "hddd");
    assert_eq!(desk.wait(second(119)), "");
    assert_eq!(desk.wait(second(1)), "away 0:close");
}

#[test]
fn a_body_that_ends_between_two_entries_is_not_answered() {
    let (header, packets) = asf();
    let body = [packet(b'H', &header), packet(b'D', &packets[0]), end(1)].concat();
    let mut desk = Desk::new();
    let id = desk.connect(1);
    desk.say(id, post(SETUP, Some(0), ""));
    let length = format!("Content-Length: {}\r\n", body.len());
    desk.say(id, head(START, Some(PUSH_ID.into()), &length));
    assert_eq!(desk.say(id, body), "media", "no 204");
    let change = packet(b'C', &[&[0; 4][..], &header].concat());
    let next = [change, packet(b'D', &packets[1])].concat();
    let length = format!("Content-Length: {}\r\n", next.len());
    desk.say(id, head(START, Some(PUSH_ID.into()), &length));
    assert_eq!(desk.say(id, next), "media 0:204");
    assert_eq!(desk.items(), "hdhd", "a change is a header");
}

#[test]
fn a_packet_that_no_length_fits_ends_the_push() {
    for bad in [
        &b"HTTP"[..],
        &packet(b'C', &[1]),
        &packet(b'D', &[0; 65_535]),
    ] {
        let mut desk = Desk::new();
        desk.encoder(1, "", ENDLESS);
        assert_eq!(desk.say(0, bad), "away 0:400 0:close", "{:?}", &bad[..4]);
        assert!(desk.wake_at.is_none());
    }
    let mut desk = Desk::new();
    let id = desk.connect(1);
    desk.say(id, head(START, None, "Content-Length: 2147483647\r\n"));
    let data = packet(b'D', &asf().1[0]);
    assert_eq!(
        desk.say(id, data),
        "away 0:400 0:close",
        "no header came before it"
    );
}

#[test]
fn media_that_ingest_cannot_use_ends_the_push() {
    let mut desk = Desk::new();
    desk.encoder(1, "", ENDLESS);
    assert_eq!(desk.feed(Input::Unusable), "away 0:415 0:close");
    assert_eq!(desk.feed(Input::Unusable), "");
}

#[test]
fn at_the_end_of_the_server_everybody_is_told() {
    let mut desk = Desk::new();
    desk.encoder(1, "", ENDLESS);
    desk.connect(2);
    assert_eq!(desk.feed(Input::Shutdown), "0:503 0:close 1:503 1:close");
    assert!(desk.wake_at.is_none());
}

#[test]
fn push_ids_differ_and_there_are_not_too_many() {
    let mut desk = Desk::new();
    let mut push_ids = Vec::new();
    for _ in 0..20 {
        let id = desk.connect(1);
        assert_eq!(desk.say(id, post(SETUP, Some(0), "")), format!("{id}:204"));
        push_ids.push(desk.field("Set-Cookie").to_owned());
        // A second one on the same connection gets a number of its own.
        assert_eq!(desk.say(id, post(SETUP, Some(0), "")), format!("{id}:204"));
        assert!(!push_ids.contains(&desk.field("Set-Cookie").to_owned()));
    }
    push_ids.dedup();
    assert_eq!(push_ids.len(), 20);
    let id = desk.connect(1);
    let again = |number: u64| post(SETUP, Some(u64::from(PUSH_ID) + number), "");
    assert_eq!(desk.say(id, again(19)), "20:204");
    assert_eq!(
        desk.say(id, again(0)),
        "20:400 20:close",
        "the oldest had to go"
    );
}
