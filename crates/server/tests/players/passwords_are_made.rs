//! `funnel password` prints lines that a configuration takes.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::support::server::funnel;

/// Runs `funnel password` with this on its standard input.
fn password(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_funnel"))
        .arg("password")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("piped");
    // One that refuses its arguments may be gone already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

#[test]
fn its_lines_are_taken_by_a_configuration() {
    for digest in [true, false] {
        let arguments = if digest {
            &["alice", "--digest"][..]
        } else {
            &["alice"]
        };
        let out = password(arguments, "open sesame\nand more\n");
        assert!(out.status.success(), "{out:?}");
        let lines = String::from_utf8(out.stdout).expect("text");
        if digest {
            let hash = md5::compute("alice:funnel:open sesame");
            assert_eq!(
                lines,
                format!("user = \"alice\"\npassword_hash = \"digest:{hash:x}\"\n")
            );
        } else {
            assert!(
                lines.starts_with("user = \"alice\"\npassword_hash = \"$argon2id$v=19$"),
                "{lines}"
            );
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("funnel.toml");
        let check = |lines: &str| {
            let keys = lines.trim_end().replace('\n', ", ");
            let text = format!("[channels.a]\nsource = {{ kind = \"push\", {keys} }}\n");
            std::fs::write(&path, text).expect("the configuration is written");
            funnel(&["check", "--config", &path.to_string_lossy()])
        };
        let ran = check(&lines);
        assert!(ran.status.success(), "{}", ran.report());
        // With one more letter it is none any more.
        let ran = check(
            &lines
                .replacen("password_hash = \"digest:", "password_hash = \"digest:0", 1)
                .replacen("$v=19$", "$v=19$$", 1),
        );
        assert!(
            !ran.status.success() && ran.stderr.contains("funnel password"),
            "{}",
            ran.report()
        );
    }
}

#[test]
fn names_and_passwords_that_cannot_be_are_refused() {
    for (arguments, input) in [
        (&["a:b"][..], "secret\n"),
        (&[""], "secret\n"),
        (&["alice"], "\n"),
        (&["alice"], ""),
        (&[], "secret\n"),
    ] {
        let out = password(arguments, input);
        assert_eq!(out.status.code(), Some(2), "{arguments:?}: {out:?}");
        assert!(out.stdout.is_empty());
    }
}
