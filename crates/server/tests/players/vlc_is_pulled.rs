//! VLC as an encoder that waits to be pulled (`access=mmsh`): we pull it and our viewers see what it plays.

use crate::support::media;
use crate::support::player::{self, Vlc};
use crate::support::server::{PUSH, Setup};
use crate::support::wait_until;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

const SHOW: &str = "av-300k.wmv";

#[test]
fn its_frames_are_the_files() {
    let mut setup = Setup::new();
    let port = setup.port() + PUSH;
    for (channel, scheme) in [("first", "http"), ("second", "mmsh")] {
        let source = format!(
            "source = {{ kind = \"pull\", url = \"{scheme}://127.0.0.1:{port}/live\", on_demand = true }}"
        );
        setup.channel(channel, &source);
    }
    let encoder = Vlc::new(setup.folder(), "encoder");
    let file = media::file(SHOW).display().to_string();
    let target = format!("#std{{access=mmsh,mux=asfh,dst=127.0.0.1:{port}/live}}");
    let arguments =
        encoder.arguments(&["--loop", "--sout-mux-caching=300", &file, "--sout", &target]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let log = setup.folder().join("encoder.log");
    let encoder = player::start(60, &arguments, log);
    wait_until("VLC can be pulled", Duration::from_secs(15), || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    let server = setup.start();
    let wanted = player::decode(&media::file(SHOW), server.folder()).remove(0);
    for channel in ["first", "second"] {
        let md5 = server.folder().join(format!("{channel}.md5"));
        let url = server.http_url(channel);
        #[rustfmt::skip]
        let ran = player::run(40, &[
            "ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "warning", "-i", &url, "-map", "0:v", "-t", "5",
            "-fps_mode", "passthrough", "-f", "framemd5", "-y", &md5.to_string_lossy(),
        ]);
        ran.expect_success(&format!("ffmpeg on {url}"));
        let got = player::frames(&md5).remove(0);
        assert!(got.len() > 100, "{} frames", got.len());
        // Whoever comes gets what VLC sends next, and VLC marks every frame as a key frame: the first true one comes within 2 s.
        let known = |frame: &String| wanted.iter().position(|of_file| of_file == frame);
        let numbered = got.iter().enumerate();
        let mut of_file = numbered.filter_map(|(number, frame)| Some((number, known(frame)?)));
        let (first, begins) = of_file
            .next()
            .unwrap_or_else(|| panic!("{channel}: no frame is one of the file's"));
        assert!(
            first <= 50,
            "{channel}: the first {first} frames are none of the file's"
        );
        let got = &got[first..];
        let after = wanted.iter().cycle().skip(begins);
        let wrong = got
            .iter()
            .zip(after)
            .position(|(got, wanted)| got != wanted);
        assert_eq!(
            wrong, None,
            "{channel}: first wrong frame behind number {begins}"
        );
    }
    drop(encoder);
    server.stop();
}
