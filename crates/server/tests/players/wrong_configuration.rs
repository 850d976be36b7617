//! A wrong configuration is refused with every fault shown where it stands; a busy port with one sentence.

use crate::support::media;
use crate::support::player::Ran;
use crate::support::server::{Setup, free_port, funnel};
use std::net::{Ipv4Addr, TcpListener};

fn check(text: &str) -> Ran {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("funnel.toml");
    std::fs::write(&path, text).expect("the configuration is written");
    let ran = funnel(&["check", "--config", &path.to_string_lossy()]);
    assert!(!ran.timed_out(), "{}", ran.report());
    ran
}

#[track_caller]
fn refused(text: &str, words: &[&str]) {
    let ran = check(text);
    assert!(!ran.status.success(), "accepted: {text}");
    for word in words {
        assert!(
            ran.stderr.contains(word),
            "'{word}' is not said about\n{text}\n{}",
            ran.report()
        );
    }
}

#[test]
fn every_fault_in_one_go_with_the_offending_text() {
    let text = "[server]\nworkers = \"many\"\nwokers = 2\n\n[listen]\nmms = [\"0.0.0.0:99999\"]\n\n\
                [channels.radio]\nsource = { kind = \"file\", path = \"/nowhere/music.asf\" }\n\n\
                [channels.tv]\nsource = { kind = \"tape\" }\nstrat = \"always\"\n";
    refused(
        text,
        &[
            "workers",
            "wokers",
            "0.0.0.0:99999",
            "/nowhere/music.asf",
            "tape",
            "strat",
            "funnel.toml",
        ],
    );
}

#[test]
fn one_channel_twice() {
    refused(
        "[channels.a]\nsource = { kind = \"demo\" }\n[channels.a]\nsource = { kind = \"demo\" }\n",
        &["a"],
    );
}

#[test]
fn text_that_is_not_toml() {
    refused("[channels.a\n", &["funnel.toml"]);
}

#[test]
fn a_file_that_is_no_media() {
    let path = media::file("README.md").display().to_string();
    refused(
        &format!("[channels.a]\nsource = {{ kind = \"file\", path = \"{path}\" }}\n"),
        &["README.md"],
    );
}

#[test]
fn a_configuration_file_that_is_missing() {
    let ran = funnel(&["check", "--config", "/nowhere/funnel.toml"]);
    assert!(!ran.status.success());
    assert!(
        ran.stderr.contains("/nowhere/funnel.toml"),
        "{}",
        ran.report()
    );
}

#[test]
fn a_good_one_is_accepted() {
    let mut setup = Setup::new();
    setup.file_looped("show", &media::file("av-300k.wmv"));
    setup.channel("demo", "source = { kind = \"demo\" }");
    funnel(&["check", "--config", &setup.write().to_string_lossy()]).expect_success("funnel check");
}

#[test]
fn a_busy_port_is_said_in_one_sentence() {
    let port = free_port();
    let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("funnel.toml");
    let text = format!(
        "[listen]\nmms = [\"127.0.0.1:{port}\"]\nhttp = []\n[channels.demo]\nsource = {{ kind = \"demo\" }}\n"
    );
    std::fs::write(&path, text).expect("the configuration is written");
    let ran = funnel(&["serve", "--config", &path.to_string_lossy()]);
    assert!(
        !ran.status.success() && !ran.timed_out(),
        "{}",
        ran.report()
    );
    assert!(
        ran.stderr.contains(&port.to_string()),
        "the port is not named: {}",
        ran.report()
    );
    assert!(!ran.stderr.contains("panicked"), "{}", ran.report());
    drop(busy);
}
