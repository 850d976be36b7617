//! Over HTTPS players that check the certificate get the same bytes and show the same frames.

use crate::support::certificate::Certificate;
use crate::support::ffmpeg;
use crate::support::gstreamer;
use crate::support::media::{self, GOOD};
use crate::support::normalised;
use crate::support::player::{self, Ran};
use crate::support::server::Setup;
use crate::support::{all_at_once, job};

fn curl(certificate: &Certificate, more: &[&str]) -> Ran {
    let authority = certificate.authority.to_string_lossy();
    let arguments = ["curl", "-sS", "--fail", "--cacert", &authority];
    player::run(30, &[&arguments, more].concat())
}

#[test]
fn byte_for_byte_and_frame_for_frame() {
    let names = ["av-300k.wmv", "h264-aac.asf", "large-packets.wmv"];
    let goods: Vec<_> = GOOD
        .iter()
        .filter(|good| names.contains(&good.name))
        .collect();
    let mut setup = Setup::new();
    let certificate = Certificate::new(setup.folder());
    setup.https(&certificate.certificate, &certificate.key);
    for good in &goods {
        for player in ["tls12", "tls13", "ffmpeg", "gst"] {
            setup.file_once(
                &format!("{}-{player}", good.channel()),
                &good.path(),
                good.speed,
            );
        }
    }
    let server = setup.start();
    let address = server.address();
    let authority = certificate.authority.clone();
    let mut jobs = Vec::new();
    for good in goods {
        let folder = server.folder().to_owned();
        for (version, argument) in [("tls12", "--tls-max"), ("tls13", "--tlsv1.3")] {
            let channel = format!("{}-{version}", good.channel());
            let (url, out) = (server.https_url(&channel), folder.join(&channel));
            let authority = authority.clone();
            jobs.push(job(channel.clone(), move || {
                let header = normalised::header_of(address, &channel);
                let (authority, out_text) = (authority.to_string_lossy(), out.to_string_lossy());
                let mut arguments = vec!["curl", "-sS", "--fail", "--cacert", &authority, argument];
                arguments.extend((version == "tls12").then_some("1.2"));
                arguments.extend(["-o", &out_text, &url]);
                player::run(60, &arguments).expect_success(&url);
                normalised::check_whole(&channel, good, &crate::support::read(&out), &header);
            }));
        }
        let url = server.https_url(&format!("{}-ffmpeg", good.channel()));
        let (authority_of_ffmpeg, out) = (
            authority.clone(),
            folder.join(format!("{}-ffmpeg", good.channel())),
        );
        let folder_of_ffmpeg = folder.clone();
        jobs.push(job(url.clone(), move || {
            let wanted = ffmpeg::reference(good, &folder_of_ffmpeg);
            let authority = authority_of_ffmpeg.to_string_lossy();
            let input = ["-tls_verify", "1", "-ca_file", &authority, &url];
            ffmpeg::assert_decodes(good, &input, ffmpeg::End::Heard, &wanted, &out);
        }));
        let url = server.https_url(&format!("{}-gst", good.channel()));
        jobs.push(job(url.clone(), move || {
            let wanted = gstreamer::reference(good, &folder);
            // It cannot be told whom else to trust: its property for that is dead.
            gstreamer::streamed(good, &url, &["ssl-strict=false"], &folder)
                .assert_equals(&wanted, good.name);
        }));
    }
    all_at_once(jobs);
    server.stop();
}

/// A player of Windows Media, a page, and who trusts nobody.
#[test]
fn all_that_is_served_plainly_is_served_encrypted() {
    let mut setup = Setup::new();
    let certificate = Certificate::new(setup.folder());
    setup.https(&certificate.certificate, &certificate.key);
    setup.file_looped("show", &media::file("av-300k.wmv"));
    let server = setup.start();
    let url = server.https_url("show");
    let out = server.folder().join("framed");
    #[rustfmt::skip]
    let ran = curl(&certificate, &[
        "-A", "NSPlayer/4.1.0.3856", "-H", "Pragma: xPlayStrm=1", "-H", "Pragma: stream-switch-count=2",
        "-H", "Pragma: stream-switch-entry=ffff:1:0 ffff:2:0", "--max-time", "2", "-o", &out.to_string_lossy(), &url,
    ]);
    assert_eq!(
        ran.status.code(),
        Some(28),
        "over when its time is: {}",
        ran.report()
    );
    let framed = crate::support::read(&out);
    assert_eq!(framed[..2], *b"$H");
    let header = 4 + usize::from(u16::from_le_bytes([framed[2], framed[3]]));
    assert_eq!(framed[header..header + 2], *b"$D");
    let page = curl(
        &certificate,
        &["-A", "Mozilla/5.0", "-H", "Accept: text/html", &url],
    );
    page.expect_success("a browser");
    assert!(page.stdout.contains("<html"), "{}", page.stdout);
    let distrust = player::run(30, &["curl", "-sS", &url]);
    assert_eq!(distrust.status.code(), Some(60), "{}", distrust.report());
    server.stop();
}
