//! Over HTTP, VLC's dump, libmms and curl receive, byte for byte, the stream as it was normalised at ingest.

use crate::support::media::{GOOD, Good};
use crate::support::normalised;
use crate::support::player::{self, Vlc};
use crate::support::server::Setup;
use crate::support::{all_at_once, job, tools};
use std::path::Path;

/// Who receives, and the scheme by which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receiver {
    /// `mmsh://`
    Libmms,
    /// `mmsh://`
    Vlc,
    /// `http://`
    PlainVlc,
    /// `http://`
    Curl,
}

impl Receiver {
    const ALL: [Receiver; 4] = [Self::Libmms, Self::Vlc, Self::PlainVlc, Self::Curl];

    fn channel(self, good: &Good) -> String {
        format!("{}-{self:?}", good.channel()).to_lowercase()
    }

    /// What it received from this `http://` address.
    fn receive(self, good: &Good, url: &str, lm: &Path, folder: &Path) -> Vec<u8> {
        let mmsh = url.replacen("http", "mmsh", 1);
        let out = folder.join(self.channel(good));
        let out_text = out.to_string_lossy();
        match self {
            Self::Vlc => return Vlc::new(folder, &self.channel(good)).dump(60, &mmsh),
            Self::PlainVlc => return Vlc::new(folder, &self.channel(good)).dump(60, url),
            Self::Libmms => player::run(60, &[&lm.to_string_lossy(), &mmsh, &out_text]),
            Self::Curl => player::run(60, &["curl", "-sS", "--fail", "-o", &out_text, url]),
        }
        .expect_success(&format!("{self:?} on {url}"));
        crate::support::read(&out)
    }
}

#[test]
fn byte_for_byte() {
    let mut setup = Setup::new();
    for good in GOOD {
        for receiver in Receiver::ALL {
            setup.file_once(&receiver.channel(good), &good.path(), good.speed);
        }
    }
    let lm = tools::build_player(setup.folder(), "lm", "mms", "libmms-dev");
    let server = setup.start();
    let address = server.address();
    // One kind after the other: the machine is small, and the shows are at several times their speed.
    for receiver in Receiver::ALL {
        let jobs = GOOD.iter().map(|good| {
            let (lm, folder) = (lm.clone(), server.folder().to_owned());
            let channel = receiver.channel(good);
            let url = server.http_url(&channel);
            job(channel.clone(), move || {
                let header = normalised::header_of(address, &channel);
                let received = receiver.receive(good, &url, &lm, &folder);
                match receiver {
                    Receiver::Libmms => normalised::check("libmms", good, &received, &header),
                    Receiver::Vlc => normalised::check("VLC", good, &received, &header),
                    Receiver::PlainVlc | Receiver::Curl => {
                        normalised::check_whole(&channel, good, &received, &header);
                    }
                }
            })
        });
        all_at_once(jobs.collect());
    }
    server.stop();
}
