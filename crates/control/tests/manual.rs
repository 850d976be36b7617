//! The configurations shown in the manuals can be used as they stand.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use funnel_control::config;

/// What examples name and this machine does not have.
const FILES: [&str; 6] = [
    "film.wmv",
    "slate.wmv",
    "fullchain.pem",
    "privkey.pem",
    "origin.pem",
    "authority.pem",
];

#[test]
fn every_example_of_the_manuals_loads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut count = 0;
    for manual in ["README.md", "docs/http.md", "docs/udp.md"] {
        let text = fs::read_to_string(root.join(manual)).expect("a manual");
        for example in examples(&text) {
            load(example).unwrap_or_else(|faults| panic!("{manual}:\n{example}\n{faults}"));
            count += 1;
        }
    }
    assert!(
        count > 6,
        "{count} examples: are they still marked as toml?"
    );
}

/// The blocks marked as TOML.
fn examples(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.split("```toml\n").skip(1);
    blocks.filter_map(|block| block.split("```").next())
}

fn load(example: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for file in FILES {
        fs::write(folder.path().join(file), "").expect("written");
    }
    let encoder = folder.path().join("ffmpeg");
    fs::write(&encoder, "").expect("written");
    fs::set_permissions(&encoder, fs::Permissions::from_mode(0o755)).expect("made executable");
    let example = ["/etc/funnel/", "/srv/"]
        .iter()
        .fold(example.to_owned(), |text, place| text.replace(place, ""));
    // Some examples are about the server alone.
    let channel = "[channels.\"only here\"]\nsource = { kind = \"demo\" }\n";
    let path = folder.path().join("funnel.toml");
    fs::write(&path, format!("{example}\n{channel}")).expect("written");
    let mut loaded =
        config::load_with(&path, folder.path().into()).map_err(|faults| format!("{faults:?}"))?;
    let checked = loaded.check(Vec::new());
    checked.map(|_| ()).map_err(|faults| format!("{faults:?}"))
}
