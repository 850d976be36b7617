//! The players whose result is a count: mplayer's frames, xine's position, mpd's state.

use crate::support::media::{self, GOOD};
use crate::support::mplayer;
use crate::support::player;
use crate::support::server::Setup;
use crate::support::{all_at_once, tools, wait_until};
use std::time::Duration;

#[test]
fn mplayer_shows_every_frame_and_ends() {
    let with_video: Vec<_> = GOOD.iter().filter(|good| good.video > 0).collect();
    let mut setup = Setup::new();
    for good in &with_video {
        setup.file_once(&good.channel(), &good.path(), good.speed);
    }
    let server = setup.start();
    let jobs = with_video
        .into_iter()
        .map(|good| {
            let url = server.mmst(&good.channel());
            let job = move || {
                mplayer::assert_shows_all(good, &url);
            };
            (
                good.name.to_string(),
                Box::new(job) as Box<dyn FnOnce() + Send>,
            )
        })
        .collect();
    all_at_once(jobs);
    server.stop();
}

#[test]
fn mplayer_plays_radio_to_its_last_second() {
    let mut setup = Setup::new();
    let names = [
        "audio-64k.wma",
        "tiny-audio.asf",
        "v-compressed.asf",
        "v-noec.asf",
        "v-lengths.asf",
    ];
    for name in names {
        setup.file_once(name, &media::file(name), 10.0);
    }
    let server = setup.start();
    let jobs = names
        .into_iter()
        .map(|name| {
            let url = server.mmst(name);
            let job = move || {
                let ran = mplayer::run(&url, &["-novideo", "-ao", "pcm:file=/dev/null:fast"]);
                assert!(
                    ran.stdout.contains("Exiting... (End of file)"),
                    "{name}: {}",
                    ran.report()
                );
                let status = mplayer::status(&ran.stdout)
                    .unwrap_or_else(|| panic!("{name}: {}", ran.report()));
                let seconds: f32 = status[2..]
                    .split_whitespace()
                    .next()
                    .and_then(|n| n.parse().ok())
                    .expect("a position");
                // Positions include the preroll of 3.1 s for this player.
                assert!(seconds > 29.0, "{name}: {status}");
            };
            (name.to_string(), Box::new(job) as Box<dyn FnOnce() + Send>)
        })
        .collect();
    all_at_once(jobs);
    server.stop();
}

/// xine opens twice (a full handshake, drop, again): the first opening must not start the show.
#[test]
fn xine_plays_to_the_end_without_a_skip() {
    let files = [
        ("metadata-unicode.wmv", 5_000),
        ("large-packets.wmv", 8_000),
        ("h264-aac.asf", 12_000),
    ];
    let mut setup = Setup::new();
    for (name, _) in files {
        setup.file_once(name, &media::file(name), 2.0);
    }
    let program = tools::build_player(setup.folder(), "xt", "xine", "libxine2-dev libxine2-ffmpeg");
    let server = setup.start();
    let jobs = files
        .into_iter()
        .map(|(name, length_ms)| {
            let (program, url) = (program.to_string_lossy().into_owned(), server.mmst(name));
            let home = server.folder().join(format!("xine-{name}"));
            std::fs::create_dir(&home).expect("a home for xine");
            let job = move || {
                let ran = player::run_with(
                    60,
                    &[&program, &url, "45", "0"],
                    &[("HOME", &home.to_string_lossy())],
                );
                ran.expect_success(&format!("xine on {name}"));
                let line = ran
                    .stderr
                    .lines()
                    .find(|line| line.starts_with("finished="))
                    .expect("xt's last line");
                let value = |key: &str| -> i64 {
                    let found = line
                        .split_whitespace()
                        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
                    found
                        .and_then(|text| text.parse().ok())
                        .unwrap_or_else(|| panic!("no {key} in {line}"))
                };
                assert_eq!(
                    (value("finished"), value("skipped"), value("discarded")),
                    (1, 0, 0),
                    "{name}: {line}"
                );
                assert!(
                    (length_ms - 400..length_ms + 400).contains(&value("pos_ms")),
                    "{name}: {line}"
                );
            };
            (name.to_string(), Box::new(job) as Box<dyn FnOnce() + Send>)
        })
        .collect();
    all_at_once(jobs);
    server.stop();
}

/// mpd plays `mms://` through libmms, which tries HTTP on the port first, and gets it.
#[test]
fn mpd_plays_and_goes_on() {
    for program in ["mpd", "mpc"] {
        tools::need(program);
    }
    let mut setup = Setup::new();
    setup.file_looped("radio", &media::file("audio-64k.wma"));
    let server = setup.start();
    let folder = server.folder().join("mpd");
    std::fs::create_dir(&folder).expect("a folder for mpd");
    let port = crate::support::server::free_port().to_string();
    let d = folder.display();
    let config = folder.join("mpd.conf");
    let text = format!(
        "music_directory \"{d}\"\nplaylist_directory \"{d}\"\ndb_file \"{d}/db\"\nstate_file \"{d}/state\"\nlog_file \"{d}/log\"\n\
         bind_to_address \"127.0.0.1\"\nport \"{port}\"\naudio_output {{\n type \"null\"\n name \"n\"\n sync \"yes\"\n}}\n"
    );
    std::fs::write(&config, text).expect("mpd's configuration");
    let daemon = player::start(
        60,
        &["mpd", "--no-daemon", "--stderr", &config.to_string_lossy()],
        folder.join("out"),
    );
    let mpc = |arguments: &[&str]| player::run(5, &[&["mpc", "-p", &port][..], arguments].concat());
    wait_until("mpd answers", Duration::from_secs(10), || {
        mpc(&["status"]).status.success()
    });
    mpc(&["add", &format!("mms://127.0.0.1:{}/radio", server.port())]).expect_success("mpc add");
    mpc(&["play"]).expect_success("mpc play");
    let playing_at = || {
        let status = mpc(&["status"]).stdout;
        let line = status
            .lines()
            .find(|line| line.starts_with("[playing]"))?
            .to_string();
        let position = line
            .split_whitespace()
            .find_map(|word| word.split_once('/')?.0.split_once(':'))?;
        Some(position.0.parse::<u32>().ok()? * 60 + position.1.parse::<u32>().ok()?)
    };
    let reached = |seconds| move |at: Option<u32>| at.is_some_and(|at| at >= seconds);
    wait_until(
        &format!("mpd plays: {}", daemon.output()),
        Duration::from_secs(20),
        || reached(5)(playing_at()),
    );
    let status = mpc(&["status"]).stdout;
    assert!(!status.contains("ERROR"), "{status}");
    drop(daemon);
    server.stop();
}
