//! What a command writes to its standard error is in our log, line by line and harmless. Alone in its binary: it sets the global logger.

mod common;

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use common::*;
use funnel_channel::Start;
use funnel_ingest::spawn;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

#[test]
fn standard_error_is_logged() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let channel = channel("noisy", Start::Always);
    let script = r"printf 'first line\nframe= 1\rframe= 2\r\033[31mred\nunfinished' >&2; exit 3";
    let ingest = spawn(vec![spec(&channel, shell(script))]).expect("a ring");
    for text in [
        "first line",
        "frame= 1",
        "frame= 2",
        r"\x1b[31mred",
        "unfinished",
    ] {
        let line = format!(r#"INFO source: {text} channel="noisy""#);
        wait_for(&line, || log.text().contains(&line).then_some(()));
    }
    wait_for("how it ended", || {
        log.text().contains("exit status: 3").then_some(())
    });
    ingest.stop();
    assert!(
        !log.text().contains('\u{1b}'),
        "control characters never reach the terminal"
    );
}
