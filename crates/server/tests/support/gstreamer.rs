//! GStreamer: `souphttpsrc ! asfdemux`, and what its decoders make of a stream.

use super::asf;
use super::media::{self, Good};
use super::player;
use super::tools;
use std::path::Path;

/// What GStreamer decoded: the first video stream as I420, the first audio stream as 32-bit floats, or as it came if it is [`MP3`].
#[derive(PartialEq, Eq)]
pub struct Decoded {
    video: Option<Vec<u8>>,
    audio: Vec<u8>,
}

impl Decoded {
    /// That this is `wanted` to the last byte.
    #[track_caller]
    pub fn assert_equals(&self, wanted: &Decoded, who: &str) {
        for (what, got, wanted) in [
            ("video", self.video.as_ref(), wanted.video.as_ref()),
            ("audio", Some(&self.audio), Some(&wanted.audio)),
        ] {
            assert_eq!(
                got.map(Vec::len),
                wanted.map(Vec::len),
                "{who}: bytes of {what}"
            );
            let pairs = got.into_iter().flatten().zip(wanted.into_iter().flatten());
            let wrong = pairs
                .enumerate()
                .find_map(|(at, (got, wanted))| (got != wanted).then_some(at));
            assert_eq!(wrong, None, "{who}: first wrong byte of {what}");
        }
    }
}

/// Decodes the file itself, as if it were live: its length, at which GStreamer would cut the last block of sound, is taken away, and
/// the queue makes the demuxer take what comes, as from a network, not seek.
pub fn reference(good: &Good, folder: &Path) -> Decoded {
    let mut live = super::read(&media::plain_asf(&good.path(), folder));
    asf::make_broadcast(&mut live);
    let file = folder.join(format!("{}-broadcast", good.channel()));
    std::fs::write(&file, live).expect("a copy");
    let location = format!("location={}", file.display());
    let source = ["filesrc", &location, "!", "queue"].map(str::to_owned);
    decode(good, &source, folder)
}

/// Decodes what comes from `url` up to its end; `more` are properties of `souphttpsrc`.
pub fn streamed(good: &Good, url: &str, more: &[&str], folder: &Path) -> Decoded {
    let mut source = vec!["souphttpsrc".to_owned(), format!("location={url}")];
    source.extend(more.iter().map(ToString::to_string));
    decode(good, &source, folder)
}

fn decode(good: &Good, source: &[String], folder: &Path) -> Decoded {
    tools::need("gst-launch-1.0");
    let out = tempfile::tempdir_in(folder).expect("a folder for decoded media");
    let (video, audio) = (out.path().join("video"), out.path().join("audio"));
    let mut line = format!("{} ! asfdemux name=demuxer", source.join(" "));
    if good.video > 0 {
        line += &format!(
            " demuxer.video_0 ! queue ! decodebin ! videoconvert ! video/x-raw,format=I420 \
             ! filesink sync=false location={}",
            video.display()
        );
    }
    line += " demuxer.audio_0 ! queue";
    if !MP3.contains(&good.name) {
        line += " ! decodebin ! audioconvert ! audio/x-raw,format=F32LE";
    }
    line += &format!(" ! filesink sync=false location={}", audio.display());
    let mut arguments = vec!["gst-launch-1.0", "-q"];
    arguments.extend(line.split_whitespace());
    let ran = player::run(60, &arguments);
    ran.expect_success(&line);
    Decoded {
        video: (good.video > 0).then(|| super::read(&video)),
        audio: super::read(&audio),
    }
}

/// Files with sound of which GStreamer's parser and decoder make something else now and then, of the same file on disk, too: its
/// second frame is silence or is not.
const MP3: [&str; 5] = [
    "tiny-audio.asf",
    "slides-3min.asf",
    "v-compressed.asf",
    "v-noec.asf",
    "v-lengths.asf",
];
