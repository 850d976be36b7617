//! One connection of an encoder or to a server: what it says goes to the channel's task, what it is told comes from there.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    time::timeout,
};

use crate::door::{LINGER, linger};

/// What happens on a connection.
#[derive(Debug)]
pub(crate) enum Heard {
    /// It says something.
    Bytes(Vec<u8>),
    /// It says no more.
    Closed,
}

/// Serves a connection until `orders` is dropped, and then ends it properly. While the channel's task is behind, nothing is read.
pub(crate) async fn attend<Id: Copy>(
    id: Id,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    heard: mpsc::Sender<(Id, Heard)>,
    mut orders: mpsc::UnboundedReceiver<Vec<u8>>,
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            order = orders.recv() => {
                let Some(bytes) = order else { break };
                if !matches!(timeout(PATIENCE, say(&mut stream, &bytes)).await, Ok(Ok(()))) {
                    let _ = heard.send((id, Heard::Closed)).await;
                    return;
                }
            }
            read = stream.read(&mut chunk), if is_open => {
                let news = match read {
                    Ok(count @ 1..) => Heard::Bytes(chunk[..count].to_vec()),
                    Ok(0) | Err(_) => Heard::Closed,
                };
                is_open = matches!(news, Heard::Bytes(_));
                if heard.send((id, news)).await.is_err() {
                    return;
                }
            }
        }
    }
    let _ = timeout(LINGER, linger(&mut stream)).await;
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// A packet of ordinary size comes alone; this is for the rare large burst.
const CHUNK_BYTES: usize = 64 << 10;
/// How long an answer may take to leave; none is longer than a kilobyte.
const PATIENCE: Duration = Duration::from_secs(10);
