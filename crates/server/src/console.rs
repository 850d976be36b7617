//! What goes to standard output and standard error, and the log.

use std::io::{self, IsTerminal as _, Write as _};

use funnel_control::config::LogLevel;
use miette::MietteHandlerOpts;
use tracing_subscriber::EnvFilter;

/// Prints to standard output. Whoever reads it may have gone: that is no fault of ours.
pub fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a line to standard error.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Events of at least `level` go to standard error, one line each; the variable RUST_LOG overrides `level`.
pub fn start_log(level: LogLevel) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level.name()));
    tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .init();
}

/// Faults of a configuration are shown with lines unbroken: a path cut in two cannot be searched for.
pub fn show_faults_whole() {
    // Fails only when called twice.
    let _ = miette::set_hook(Box::new(|_| {
        Box::new(
            MietteHandlerOpts::new()
                .terminal_links(false)
                .wrap_lines(false)
                .context_lines(1)
                .build(),
        )
    }));
}
