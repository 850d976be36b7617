//! A child's standard error, cut into lines fit for our log: bounded, without control characters, without floods.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

/// Cuts bytes into lines. Carriage returns end a line too: ffmpeg draws its progress with them.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    cut: bool,
}

impl Lines {
    /// Takes bytes, hands out the lines they complete.
    pub(crate) fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&str)) {
        for &byte in bytes {
            if matches!(byte, b'\n' | b'\r') {
                self.end(&mut line);
            } else if self.line.len() < LINE_BYTES_MAX {
                self.line.push(byte);
            } else {
                self.cut = true;
            }
        }
    }

    /// Hands out what is left when the child is gone.
    pub(crate) fn end(&mut self, mut line: impl FnMut(&str)) {
        if !self.line.is_empty() {
            let mut text = escaped(&self.line);
            if self.cut {
                text.push('…');
            }
            line(&text);
        }
        self.line.clear();
        self.cut = false;
    }
}

/// Readable text of arbitrary bytes: what is not UTF-8 is replaced, control characters are written out.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for letter in String::from_utf8_lossy(bytes).chars() {
        if letter.is_control() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{:02x}", u32::from(letter));
        } else {
            text.push(letter);
        }
    }
    text
}

/// Lets so many lines through in a period and counts the rest.
#[derive(Debug)]
pub(crate) struct Flood {
    since: Instant,
    passed: u32,
    held: u32,
}

impl Flood {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            since: now,
            passed: 0,
            held: 0,
        }
    }

    /// Whether one more line may pass; and how many were held back in the period that ended, if one did.
    pub(crate) fn pass(&mut self, now: Instant) -> (bool, u32) {
        let mut held = 0;
        if now.saturating_duration_since(self.since) >= FLOOD_PERIOD {
            held = std::mem::take(&mut self.held);
            (self.since, self.passed) = (now, 0);
        }
        let pass = self.passed < FLOOD_LINES_MAX;
        *(if pass {
            &mut self.passed
        } else {
            &mut self.held
        }) += 1;
        (pass, held)
    }
}

const LINE_BYTES_MAX: usize = 1000;
pub(crate) const FLOOD_PERIOD: Duration = Duration::from_secs(10);
const FLOOD_LINES_MAX: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, |line| out.push(line.to_owned()));
        }
        lines.end(|line| out.push(line.to_owned()));
        out
    }

    #[test]
    fn lines_end_at_either_return_and_at_the_end() {
        assert_eq!(
            lines(&[b"one\ntw", b"o\r\nframe= 1\rframe= 2\rlast"]),
            ["one", "two", "frame= 1", "frame= 2", "last"]
        );
    }

    #[test]
    fn control_characters_and_foreign_bytes_are_made_harmless() {
        assert_eq!(lines(&[b"\x1b[31mred\xff\n"]), ["\\x1b[31mred\u{fffd}"]);
    }

    #[test]
    fn long_lines_are_cut() {
        let long = vec![b'x'; 5000];
        let out = lines(&[&long, b"\nnext\n"]);
        assert_eq!(out[0].chars().count(), LINE_BYTES_MAX + 1);
        assert!(out[0].ends_with('…'));
        assert_eq!(out[1], "next");
    }

    #[test]
    fn a_flood_is_held_back_and_counted_once_a_period() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        let passed = (0..250).filter(|_| flood.pass(start).0).count();
        assert_eq!(passed, 100);
        assert_eq!(flood.pass(start + FLOOD_PERIOD), (true, 150));
        assert_eq!(flood.pass(start + FLOOD_PERIOD), (true, 0));
    }
}
