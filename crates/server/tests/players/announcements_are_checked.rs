//! `funnel nsc` reads `.nsc` files: for people, for programs, and with every fault of a damaged one.

use crate::support::server::funnel;

fn file(name: &str) -> String {
    format!("{}/../../testdata/nsc/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_good_file_is_printed_and_an_untidy_one_too() {
    let ran = funnel(&["nsc", &file("station.nsc")]);
    ran.expect_success("funnel nsc");
    for word in [
        "239.192.48.179 port 19009",
        "mp3",
        "mms://studio.example/bpp",
    ] {
        assert!(ran.stdout.contains(word), "no {word}: {}", ran.report());
    }
    assert!(!ran.stdout.contains("warning"), "{}", ran.report());
    let ran = funnel(&["nsc", &file("old-and-untidy.nsc")]);
    ran.expect_success("funnel nsc");
    let word = "warning: line 4: description1: checksum 0x26 instead of 0x27";
    assert!(ran.stdout.contains(word), "{}", ran.report());
}

#[test]
fn programs_get_one_object() {
    let ran = funnel(&["nsc", "--json", &file("two-headers-ipv6.nsc")]);
    ran.expect_success("funnel nsc --json");
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(found["good"], true, "{found:#}");
    let announcement = &found["announcement"];
    assert_eq!(announcement["group"], "ff15::48:179", "{found:#}");
    assert_eq!(announcement["port"], 30864);
    assert_eq!(announcement["formats"][0]["description"], "caf\u{e9}");
    assert_eq!(announcement["formats"][1]["streams"][0]["kind"], "video");
}

#[test]
fn every_fault_of_a_damaged_file_in_one_go() {
    for flags in [&["nsc"][..], &["nsc", "--json"]] {
        let ran = funnel(&[flags, &[&file("damaged.nsc")]].concat());
        assert_eq!(ran.status.code(), Some(1), "{}", ran.report());
        for words in [
            "14 faults",
            "line 2: Name: character 6",
            "line 5: IP Address: 10.0.0.1 is not a multicast address",
            "line 15: Format4: 64 bytes that are no ASF header",
            "IP Port: required",
        ] {
            assert!(ran.stderr.contains(words), "no {words}: {}", ran.report());
        }
    }
    let ran = funnel(&["nsc", "/nowhere/station.nsc"]);
    assert_eq!(ran.status.code(), Some(2), "{}", ran.report());
    assert!(
        ran.stderr.contains("/nowhere/station.nsc"),
        "{}",
        ran.report()
    );
}
