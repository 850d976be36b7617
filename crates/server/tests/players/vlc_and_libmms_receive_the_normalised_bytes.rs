//! VLC's dump and libmms deliver, byte for byte, the stream as it was normalised at ingest.

use crate::support::media::{self, GOOD};
use crate::support::normalised;
use crate::support::player::{self, Vlc};
use crate::support::server::Setup;
use crate::support::{all_at_once, tools};
use std::path::Path;

fn libmms(program: &Path, url: &str, out: &Path) -> Vec<u8> {
    player::run(
        60,
        &[&program.to_string_lossy(), url, &out.to_string_lossy()],
    )
    .expect_success(&format!("libmms on {url}"));
    crate::support::read(out)
}

#[test]
fn byte_for_byte_in_both() {
    let mut setup = Setup::new();
    for good in GOOD {
        setup.file_once(&format!("{}-lm", good.channel()), &good.path(), good.speed);
        setup.file_once(&format!("{}-vlc", good.channel()), &good.path(), good.speed);
    }
    let lm = tools::build_player(setup.folder(), "lm", "mms", "libmms-dev");
    let server = setup.start();
    let address = server.address();
    let mut jobs: Vec<(String, Box<dyn FnOnce() + Send>)> = Vec::new();
    for good in GOOD {
        let url = server.mmst(&format!("{}-lm", good.channel()));
        let (lm, out) = (
            lm.clone(),
            server.folder().join(format!("{}.lm", good.name)),
        );
        let job = move || {
            let header = normalised::header_of(address, &format!("{}-lm", good.channel()));
            assert!(
                header.len() <= 8_192,
                "{}: a header of {} bytes",
                good.name,
                header.len()
            );
            normalised::check("libmms", good, &libmms(&lm, &url, &out), &header);
        };
        jobs.push((format!("libmms {}", good.name), Box::new(job)));

        let url = server.mmst(&format!("{}-vlc", good.channel()));
        let folder = server.folder().to_owned();
        let job = move || {
            let header = normalised::header_of(address, &format!("{}-vlc", good.channel()));
            let vlc = Vlc::new(&folder, good.name);
            normalised::check("VLC", good, &vlc.dump(60, &url), &header);
        };
        jobs.push((format!("VLC {}", good.name), Box::new(job)));
    }
    all_at_once(jobs);
    server.stop();
}

/// VLC's own demuxer and decoders at the speed of the show: no error in its log, and the end is an end.
#[test]
fn vlc_plays_to_the_end() {
    let mut setup = Setup::new();
    setup.file_once("show", &media::file("metadata-unicode.wmv"), 1.0);
    let server = setup.start();
    let vlc = Vlc::new(server.folder(), "play");
    let ran = vlc.run(40, &["-vv", &server.mmst("show")]);
    player::assert_vlc_came_to_the_end(&ran);
    server.stop();
}
