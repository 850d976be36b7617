//! The test media, and what is known of them.

use std::path::{Path, PathBuf};

/// The folder of test data.
pub fn testdata() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata"))
}

/// One file of `testdata/media`.
pub fn file(name: &str) -> PathBuf {
    testdata().join("media").join(name)
}

/// A file that every part of the system must accept.
pub struct Good {
    pub name: &'static str,
    /// How many streams.
    pub streams: usize,
    /// Which of them are video, counted from 0.
    pub video_streams: &'static [usize],
    /// Video objects of the first video stream; 0: none.
    pub video: usize,
    /// How many times faster than meant the tests play it.
    pub speed: f32,
}

impl Good {
    pub fn path(&self) -> PathBuf {
        file(self.name)
    }

    /// The name as a channel's: the file name without dots.
    pub fn channel(&self) -> String {
        self.name.replace('.', "-")
    }
}

/// Every good file, as `testdata/media/README.md` describes them.
pub const GOOD: &[Good] = &[
    Good {
        name: "av-300k.wmv",
        streams: 2,
        video_streams: &[0],
        video: 500,
        speed: 10.0,
    },
    Good {
        name: "audio-64k.wma",
        streams: 1,
        video_streams: &[],
        video: 0,
        speed: 10.0,
    },
    Good {
        name: "mbr-3rates.wmv",
        streams: 4,
        video_streams: &[1, 2, 3],
        video: 150,
        speed: 5.0,
    },
    Good {
        name: "mbr-3rates-mutex.wmv",
        streams: 4,
        video_streams: &[1, 2, 3],
        video: 150,
        speed: 5.0,
    },
    Good {
        name: "h264-aac.asf",
        streams: 2,
        video_streams: &[0],
        video: 300,
        speed: 5.0,
    },
    Good {
        name: "large-packets.wmv",
        streams: 2,
        video_streams: &[0],
        video: 200,
        speed: 4.0,
    },
    Good {
        name: "tiny-audio.asf",
        streams: 1,
        video_streams: &[],
        video: 0,
        speed: 10.0,
    },
    Good {
        name: "slides-3min.asf",
        streams: 2,
        video_streams: &[0],
        video: 180,
        speed: 30.0,
    },
    Good {
        name: "metadata-unicode.wmv",
        streams: 2,
        video_streams: &[0],
        video: 75,
        speed: 4.0,
    },
    Good {
        name: "live-capture.asfh",
        streams: 2,
        video_streams: &[0],
        video: 200,
        speed: 4.0,
    },
    Good {
        name: "live-pipe.asf",
        streams: 2,
        video_streams: &[0],
        video: 150,
        speed: 5.0,
    },
    Good {
        name: "v-compressed.asf",
        streams: 1,
        video_streams: &[],
        video: 0,
        speed: 10.0,
    },
    Good {
        name: "v-noec.asf",
        streams: 1,
        video_streams: &[],
        video: 0,
        speed: 10.0,
    },
    Good {
        name: "v-lengths.asf",
        streams: 1,
        video_streams: &[],
        video: 0,
        speed: 10.0,
    },
];

/// A file as a player can read it from disk: `$H`/`$D`/`$E` chunk framing taken off where there is one.
pub fn plain_asf(path: &Path, folder: &Path) -> PathBuf {
    let bytes = super::read(path);
    if !bytes.starts_with(b"$H") {
        return path.to_owned();
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = &bytes[..];
    while let [b'$', kind, low, high, ..] = *rest {
        let length = usize::from(u16::from_le_bytes([low, high]));
        if kind != b'E' {
            plain.extend_from_slice(&rest[12..4 + length]);
        }
        rest = &rest[4 + length..];
    }
    let out = folder.join(format!(
        "{}.asf",
        path.file_stem().expect("a file name").to_string_lossy()
    ));
    std::fs::write(&out, plain).expect("a plain copy");
    out
}
