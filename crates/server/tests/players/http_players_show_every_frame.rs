//! Over HTTP, as Windows Media (`mmsh://`) and as plain ASF (`http://`): ffmpeg, GStreamer and mplayer show every frame of
//! every good file.

use crate::support::ffmpeg::{self, End};
use crate::support::gstreamer;
use crate::support::media::{GOOD, Good};
use crate::support::mplayer;
use crate::support::server::{Server, Setup};
use crate::support::{all_at_once, job};

/// The two ways to play a channel over HTTP.
const SCHEMES: [&str; 2] = ["mmsh", "http"];

/// A server with a channel of its own for every file and scheme.
fn serve<'a>(goods: impl Iterator<Item = &'a Good>) -> Server {
    let mut setup = Setup::new();
    for good in goods {
        for scheme in SCHEMES {
            setup.file_once(&channel(good, scheme), &good.path(), good.speed);
        }
    }
    setup.start()
}

fn channel(good: &Good, scheme: &str) -> String {
    format!("{}-{scheme}", good.channel())
}

fn url(server: &Server, good: &Good, scheme: &str) -> String {
    server
        .http_url(&channel(good, scheme))
        .replacen("http", scheme, 1)
}

#[test]
fn ffmpeg_decodes_the_source() {
    let server = serve(GOOD.iter());
    let jobs = GOOD.iter().map(|good| {
        let folder = server.folder().to_owned();
        let urls = SCHEMES.map(|scheme| (channel(good, scheme), url(&server, good, scheme)));
        job(good.name, move || {
            let wanted = ffmpeg::reference(good, &folder);
            for (channel, url) in urls {
                ffmpeg::assert_decodes(good, &[&url], End::Heard, &wanted, &folder.join(channel));
            }
        })
    });
    all_at_once(jobs.collect());
    server.stop();
}

#[test]
fn gstreamer_decodes_the_source() {
    let server = serve(GOOD.iter());
    // Four at a time: what each decodes is up to 60 MB of pictures.
    for few in GOOD.chunks(4) {
        let jobs = few.iter().map(|good| {
            let (folder, url) = (server.folder().to_owned(), url(&server, good, "http"));
            job(good.name, move || {
                let wanted = gstreamer::reference(good, &folder);
                gstreamer::streamed(good, &url, &[], &folder)
                    .assert_equals(&wanted, &format!("GStreamer on {}", good.name));
            })
        });
        all_at_once(jobs.collect());
    }
    server.stop();
}

#[test]
fn mplayer_shows_every_frame_and_ends() {
    let with_video = GOOD.iter().filter(|good| good.video > 0);
    let server = serve(with_video.clone());
    let both = with_video.flat_map(|good| SCHEMES.map(|scheme| (good, scheme)));
    let jobs = both.map(|(good, scheme)| {
        let url = url(&server, good, scheme);
        job(channel(good, scheme), move || {
            mplayer::assert_shows_all(good, &url);
        })
    });
    all_at_once(jobs.collect());
    server.stop();
}
