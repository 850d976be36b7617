//! Playlists of a channel, both notations of `.asx` and `.m3u`: VLC and mplayer follow them and get the whole show.

use crate::support::media;
use crate::support::mplayer;
use crate::support::player::Vlc;
use crate::support::server::Setup;
use crate::support::{all_at_once, job};

/// Its packets are 76.
const SHOW: &str = "metadata-unicode.wmv";

#[test]
fn whichever_a_player_opens() {
    // Channel, what is behind its name, and whether VLC plays it, or mplayer.
    let ways = [
        ("xml", ".asx", true),
        ("old", ".asx?old", true),
        ("m3u", ".m3u", true),
        ("mplayer", ".asx", false),
    ];
    let mut setup = Setup::new();
    for (channel, ..) in ways {
        setup.file_once(channel, &media::file(SHOW), 4.0);
    }
    let server = setup.start();
    let folder = server.folder().to_owned();
    let jobs = ways.map(|(channel, behind, is_vlc)| {
        let url = server.http_url(&format!("{channel}{behind}"));
        let folder = folder.clone();
        job(channel, move || {
            let ran = if is_vlc {
                Vlc::new(&folder, channel).run(60, &["-q", &url])
            } else {
                mplayer::run(&url, &["-nosound", "-playlist"])
            };
            assert!(!ran.timed_out(), "{channel}: {}", ran.report());
        })
    });
    all_at_once(jobs.into());
    server.stop_then(|server| {
        let log = server.log();
        for (channel, ..) in ways {
            let words = [&format!("channel=\"{channel}\" "), " packets=76 "];
            let is_whole = |line: &str| words.iter().all(|word| line.contains(*word));
            assert!(log.lines().any(is_whole), "{channel}:\n{log}");
        }
    });
}
