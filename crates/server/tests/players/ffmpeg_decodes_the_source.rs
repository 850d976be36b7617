//! ffmpeg over `mmst://` decodes every good file to the very frames the file itself gives.

use crate::support::ffmpeg::{self, End};
use crate::support::media::{self, GOOD};
use crate::support::player::{self, Frames};
use crate::support::server::Setup;

#[test]
fn every_frame_of_every_good_file() {
    let mut setup = Setup::new();
    for good in GOOD {
        setup.file_once(&good.channel(), &good.path(), good.speed);
    }
    let server = setup.start();
    let jobs = GOOD
        .iter()
        .map(|good| {
            let (folder, url) = (server.folder().to_owned(), server.mmst(&good.channel()));
            let job = move || {
                let wanted = ffmpeg::reference(good, &folder);
                let out = folder.join(format!("{}-streamed", good.channel()));
                ffmpeg::assert_decodes(good, &[&url], End::Unheard, &wanted, &out);
            };
            (
                good.name.to_string(),
                Box::new(job) as Box<dyn FnOnce() + Send>,
            )
        })
        .collect();
    crate::support::all_at_once(jobs);
    server.stop();
}

/// Media objects, not decoded: nothing is held back by a decoder, so the count is exact.
#[test]
fn every_media_object_of_a_radio_show() {
    let good = GOOD
        .iter()
        .find(|good| good.name == "audio-64k.wma")
        .expect("in the list");
    let mut setup = Setup::new();
    setup.file_once("radio", &good.path(), good.speed);
    let server = setup.start();
    let out = server.folder().join("radio.md5");
    let out_text = out.to_string_lossy();
    let url = server.mmst("radio");
    player::run(
        40,
        &[
            "ffmpeg",
            "-nostdin",
            "-loglevel",
            "warning",
            "-i",
            &url,
            "-map",
            "0",
            "-c",
            "copy",
            "-frames:a",
            "646",
            "-f",
            "framemd5",
            "-y",
            &out_text,
        ],
    )
    .expect_success("ffmpeg -c copy");
    let expected =
        std::fs::read_to_string(media::file("expected/audio-64k.wma.tsv")).expect("ground truth");
    let wanted: Frames = expected
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            format!("{} {}", fields[2], fields[4])
        })
        .collect();
    assert_eq!(player::frames(&out), [wanted]);
    server.stop();
}
