//! A plain loop: sleep until the next slot is due, one `sendmsg` for each of its connections.
//!
//! Connections are accepted and answered by a thread of their own, one after the other; it waits at most a second for a
//! request, and has nothing to do once everybody has come.

use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use socket2::{SockRef, Socket};

use super::Counts;
use super::stream::Stream;
use super::visits::{Slot, Visits};

/// Sends until `stop` is set.
pub fn run(mut stream: Stream, train: Duration, listener: Socket, stop: &AtomicBool) -> Counts {
    let mut visits = Visits::new(train, Instant::now());
    let mut counts = Counts::default();
    let newcomers = newcomers(listener.into(), stream.greeting());
    while !stop.load(Ordering::Relaxed) {
        for newcomer in newcomers.try_iter() {
            visits.add(newcomer);
            counts.connections += 1;
        }
        let due = visits.due();
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let now = Instant::now();
        stream.publish(now);
        if let Some(slot) = visits.take_due(now) {
            if !slot.connections.is_empty() {
                counts.late_max = counts.late_max.max(now - due);
            }
            visit(slot, &stream, &mut counts);
        }
    }
    counts
}

fn visit(slot: &mut Slot<TcpStream>, stream: &Stream, counts: &mut Counts) {
    let (train, lost) = stream.train(slot.cursor);
    slot.cursor = stream.tail();
    if train.packets == 0 {
        return;
    }
    counts.lost += lost * slot.connections.len() as u64;
    let pieces: Vec<_> = train
        .pieces
        .iter()
        .map(|piece| IoSlice::new(piece))
        .collect();
    slot.connections.retain(|connection| {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        match SockRef::from(connection).send_vectored_with_flags(&pieces, flags) {
            Ok(taken) => counts.sent(&train, taken),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => counts.sent(&train, 0),
            Err(_) => false, // the other side is gone
        }
    });
}

/// Connections that were answered. The thread ends with the process.
fn newcomers(listener: TcpListener, greeting: Vec<u8>) -> Receiver<TcpStream> {
    let (tell, told): (Sender<TcpStream>, _) = channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let answered = connection.and_then(|connection| answered(connection, &greeting));
            // Out of descriptors, or a client that left: the next may have more luck.
            let Ok(connection) = answered else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            if tell.send(connection).is_err() {
                break;
            }
        }
    });
    told
}

fn answered(mut connection: TcpStream, greeting: &[u8]) -> io::Result<TcpStream> {
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX {
        let mut part = [0; 1_024];
        match connection.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => request.extend_from_slice(&part[..count]),
        }
    }
    connection.write_all(greeting)?;
    Ok(connection)
}

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(1);
const REQUEST_BYTES_MAX: usize = 8_192;
