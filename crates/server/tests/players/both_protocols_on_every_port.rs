//! The ports of MMS and of HTTP serve either protocol, over IPv4 and IPv6: players find a channel whichever they try first.

use crate::support::ffmpeg::{self, End};
use crate::support::media::GOOD;
use crate::support::mplayer;
use crate::support::normalised;
use crate::support::player;
use crate::support::server::{Server, Setup};
use crate::support::{all_at_once, job, tools};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SHOW: &str = "metadata-unicode.wmv";

/// Every way to a channel: who plays, by which scheme, whether at the other protocol's port, and over IPv6.
const WAYS: &[(Player, &str, Port, bool)] = &[
    (Player::Ffmpeg, "mmsh", Port::Mms, false),
    (Player::Ffmpeg, "http", Port::Mms, false),
    (Player::Ffmpeg, "mmst", Port::Http, false),
    (Player::Ffmpeg, "mmsh", Port::Mms, true),
    (Player::Ffmpeg, "http", Port::Http, true),
    (Player::Ffmpeg, "mmsh", Port::Http, true),
    (Player::Ffmpeg, "mmst", Port::Http, true),
    (Player::Mplayer, "mms", Port::Http, false),
    (Player::Mplayer, "mmsh", Port::Mms, false),
    (Player::Libmms, "mms", Port::Mms, false),
    (Player::Libmms, "mms", Port::Http, false),
    (Player::Libmms, "mmst", Port::Http, false),
    (Player::Curl, "http", Port::Mms, false),
    (Player::Curl, "http", Port::Http, true),
];

#[derive(Debug, Clone, Copy)]
enum Player {
    Ffmpeg,
    Mplayer,
    Libmms,
    Curl,
}

#[derive(Debug, Clone, Copy)]
enum Port {
    Mms,
    Http,
}

fn address(server: &Server, port: Port, ipv6: bool) -> SocketAddr {
    let address: IpAddr = match ipv6 {
        false => Ipv4Addr::LOCALHOST.into(),
        true => Ipv6Addr::LOCALHOST.into(),
    };
    let port = match port {
        Port::Mms => server.port(),
        Port::Http => server.http_address().port(),
    };
    SocketAddr::new(address, port)
}

#[test]
fn every_way_leads_to_the_show() {
    let good = GOOD.iter().find(|good| good.name == SHOW).expect("listed");
    let mut setup = Setup::new();
    setup.listen_also_on_ipv6();
    for way in 0..WAYS.len() {
        setup.file_once(&format!("way-{way}"), &good.path(), good.speed);
    }
    let lm = tools::build_player(setup.folder(), "lm", "mms", "libmms-dev");
    let server = setup.start();
    let folder = server.folder().to_owned();
    let wanted = ffmpeg::reference(good, &folder);
    let mms = server.address();
    let jobs = WAYS
        .iter()
        .enumerate()
        .map(|(way, (player, scheme, port, ipv6))| {
            let channel = format!("way-{way}");
            let url = format!("{scheme}://{}/{channel}", address(&server, *port, *ipv6));
            let out = folder.join(&channel);
            let (lm, wanted) = (lm.clone(), wanted.clone());
            job(format!("{player:?} {url}"), move || {
                let out_text = out.to_string_lossy();
                let header = normalised::header_of(mms, &channel);
                match player {
                    Player::Ffmpeg => {
                        let end = if *scheme == "mmst" {
                            End::Unheard
                        } else {
                            End::Heard
                        };
                        ffmpeg::assert_decodes(good, &[&url], end, &wanted, &out);
                    }
                    Player::Mplayer => mplayer::assert_shows_all(good, &url),
                    Player::Libmms => {
                        player::run(30, &[&lm.to_string_lossy(), &url, &out_text])
                            .expect_success(&format!("libmms on {url}"));
                        normalised::check("libmms", good, &crate::support::read(&out), &header);
                    }
                    Player::Curl => {
                        player::run(30, &["curl", "-sS", "--fail", "-o", &out_text, &url])
                            .expect_success(&format!("curl on {url}"));
                        normalised::check_whole("curl", good, &crate::support::read(&out), &header);
                    }
                }
            })
        });
    all_at_once(jobs.collect());
    server.stop();
}
