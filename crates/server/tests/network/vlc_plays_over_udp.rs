//! VLC, the one player that speaks MMS over UDP, gets over `mmsu://` what it gets over TCP (`docs/protocol/clients.md` U1–U3).
//!
//! VLC listens on one port whatever happens, so each has a machine of its own.

use crate::lab::lan::{Host, Lan};
use crate::support::media::{self, GOOD};
use crate::support::normalised;
use crate::support::player::{self, Vlc};
use crate::support::server::{Server, Setup};
use std::net::IpAddr;

/// Plays these files, three at a time, from an address of the server; VLC must write the bytes over TCP too.
fn dumps(names: &[&str], address: impl Fn(&Host) -> IpAddr) {
    let goods = GOOD.iter().filter(|good| names.contains(&good.name));
    let goods: Vec<_> = goods.collect();
    assert_eq!(goods.len(), names.len(), "names of good files");
    let mut setup = Setup::new();
    for good in &goods {
        // Slower than over TCP: what VLC has no time for is lost.
        setup.file_once(&good.channel(), &good.path(), good.speed.min(5.0));
    }
    let mut lan = Lan::new();
    let machine = lan.host();
    let server = machine.serve(setup);
    for few in goods.chunks(3) {
        let players: Vec<Host> = few.iter().map(|_| lan.host()).collect();
        std::thread::scope(|scope| {
            for (good, player) in few.iter().zip(&players) {
                let url = server.url("mmsu", address(&machine), &good.channel());
                let server = &server;
                scope.spawn(move || {
                    player.within(|| {
                        let header = normalised::header_of(server.address(), &good.channel());
                        let vlc = Vlc::new(server.folder(), good.name);
                        normalised::check("VLC", good, &vlc.dump(60, &url), &header);
                    });
                });
            }
        });
    }
    server.stop();
}

#[test]
fn byte_for_byte_over_ipv4() {
    dumps(
        &[
            "av-300k.wmv",
            "audio-64k.wma",
            "mbr-3rates-mutex.wmv",
            "large-packets.wmv",
            "tiny-audio.asf",
            "live-capture.asfh",
        ],
        Host::ipv4,
    );
}

#[test]
fn byte_for_byte_over_ipv6() {
    dumps(
        &["av-300k.wmv", "large-packets.wmv", "v-lengths.asf"],
        Host::ipv6,
    );
}

/// VLC's own demuxer and decoders at the speed of the show.
#[test]
fn vlc_plays_to_the_end() {
    let mut setup = Setup::new();
    setup.file_once("show", &media::file("metadata-unicode.wmv"), 1.0);
    let mut lan = Lan::new();
    let (machine, player) = (lan.host(), lan.host());
    let server = machine.serve(setup);
    plays_to_the_end(
        &player,
        &server,
        &server.url("mmsu", machine.ipv4(), "show"),
    );
    server.stop();
}

/// No error in VLC's log, and the end is an end.
fn plays_to_the_end(player: &Host, server: &Server, url: &str) {
    let vlc = Vlc::new(server.folder(), "play");
    let ran = player.within(|| vlc.run(40, &["-vv", url]));
    player::assert_vlc_came_to_the_end(&ran);
}
