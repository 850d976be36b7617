//! SIGINT and SIGTERM, as values. SIGPIPE needs nothing: Rust's runtime ignores it, and writes tell EPIPE.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Each signal from now on, by name.
///
/// # Errors
/// When the handlers or their thread cannot be made.
pub fn listen() -> io::Result<Receiver<&'static str>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name("funnel-signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                let name = if signal == SIGINT {
                    "SIGINT"
                } else {
                    "SIGTERM"
                };
                if sender.send(name).is_err() {
                    return;
                }
            }
        })?;
    Ok(receiver)
}

/// Becomes true with the first signal; the second one ends the process as if nobody had asked.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// # Errors
    /// When the handlers cannot be made.
    pub fn listen() -> io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag still down.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&flag))?;
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Self(flag))
    }

    /// Whether a signal has come.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
