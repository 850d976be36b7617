//! Where encoders that push come in: finds the channel a request is for, and hands the connection to that channel's task.
//!
//! Whoever asks for a channel that does not exist, or that has another source, is told so and let go.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tracing::warn;

use crate::{Visitor, lines::Flood, runtime::Stop};

/// Ways to the channels' tasks, by name in ASCII lower case; `None` for a channel that takes no encoders.
#[derive(Debug, Default)]
pub(crate) struct Routes(HashMap<String, Option<mpsc::Sender<Visitor>>>);

impl Routes {
    pub(crate) fn add(&mut self, channel: &str, push: Option<mpsc::Sender<Visitor>>) {
        self.0.insert(channel.to_ascii_lowercase(), push);
    }

    /// The way to the channel that a request's first line names, or why there is none.
    fn find(&self, request: &[u8]) -> Result<&mpsc::Sender<Visitor>, Refusal> {
        let name = channel_name(target(request)).ok_or(Refusal::UNKNOWN)?;
        let route = self.0.get(&name).ok_or(Refusal::UNKNOWN)?;
        route.as_ref().ok_or(Refusal::NO_ENCODERS)
    }
}

/// Takes visitors until ingest stops.
pub(crate) async fn run(mut visitors: mpsc::Receiver<Visitor>, routes: Routes, mut stop: Stop) {
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let mut flood = Flood::new(Instant::now());
    loop {
        let visitor = tokio::select! {
            biased;
            () = stop.stopped() => return,
            visitor = visitors.recv() => visitor,
        };
        let Some(visitor) = visitor else { return };
        let refused = match routes.find(&visitor.received) {
            Ok(route) => match route.try_send(visitor) {
                Ok(()) => continue,
                Err(error) => (error.into_inner(), Refusal::BUSY),
            },
            Err(refusal) => (visitor, refusal),
        };
        let (pass, held) = flood.pass(Instant::now());
        if pass {
            let (Visitor { peer, received, .. }, Refusal(status, reason)) = &refused;
            let wanted = channel_name(target(received)).unwrap_or_default();
            warn!(?wanted, %peer, status, held, reason, "an encoder is turned away");
        }
        // A crowd of strangers is not owed a sentence each: beyond these they are only let go.
        if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
            tokio::task::spawn_local(async move {
                refuse(refused.0, refused.1).await;
                drop(place);
            });
        }
    }
}

/// Those who are refused and read why, at one time.
const REFUSALS_MAX: usize = 64;

/// A status line and a sentence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Refusal(&'static str, &'static str);

impl Refusal {
    const UNKNOWN: Self = Self("404 Not Found", "There is no channel of this name.");
    const NO_ENCODERS: Self = Self("403 Forbidden", "This channel takes no encoders.");
    const BUSY: Self = Self(
        "503 Service Unavailable",
        "Too many encoders want this channel.",
    );
}

async fn refuse(visitor: Visitor, Refusal(status, text): Refusal) {
    let Ok(mut stream) = visitor.into_stream() else {
        return;
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}\n",
        text.len() + 1
    );
    let _ = timeout(LINGER, async {
        stream.write_all(answer.as_bytes()).await?;
        linger(&mut stream).await
    })
    .await;
}

/// Ends a connection that may still be sending, so that what was said last is read and not lost to a reset. Bounded by its caller's time.
pub(crate) async fn linger(
    stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin),
) -> std::io::Result<()> {
    stream.shutdown().await?;
    let mut void = vec![0; 16 << 10];
    while stream.read(&mut void).await? > 0 {}
    Ok(())
}

/// How long an encoder has to read why it is refused.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// The target of a request: what stands between the first and the second space.
fn target(request: &[u8]) -> &str {
    // Some say an empty line behind the body before.
    let request = request.trim_ascii_start();
    let line = request.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
    let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or(&[]);
    str::from_utf8(target).unwrap_or_default()
}

/// The channel that a target means, in ASCII lower case: `/NAME`, or a whole URL as proxies get it. Query, a slash at the end and more
/// than one in front do not count (`POST //` occurs, `docs/protocol/wmsp.md` §13).
fn channel_name(target: &str) -> Option<String> {
    let target = target.split('?').next().unwrap_or_default();
    let path = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.split_once('/')?.1,
        _ => target.strip_prefix('/')?,
    };
    let path = path.trim_start_matches('/');
    let name = percent_decode_str(path.strip_suffix('/').unwrap_or(path));
    Some(name.decode_utf8().ok()?.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_found_in_every_spelling() {
        let mut routes = Routes::default();
        let (push, _visitors) = mpsc::channel(1);
        routes.add("Live Ä", Some(push));
        routes.add("file", None);
        for target in [
            "/Live%20%C3%84",
            "/live%20%c3%84/",
            "/live%20%C3%84?x=1",
            "//live%20%C3%84",
            "/live%20%C3%84?from=http://other/file",
            "http://host:80/Live%20%C3%84",
        ] {
            let request = format!("POST {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            assert!(routes.find(request.as_bytes()).is_ok(), "{target}");
        }
        let refusal = |request: &[u8]| routes.find(request).err();
        assert_eq!(
            refusal(b"PUT /file HTTP/1.1\r\n"),
            Some(Refusal::NO_ENCODERS)
        );
        for request in [
            &b"PUT /files HTTP/1.1\r\n"[..],
            b"PUT",
            b"PUT * HTTP/1.1",
            b"",
        ] {
            assert_eq!(refusal(request), Some(Refusal::UNKNOWN));
        }
    }
}
