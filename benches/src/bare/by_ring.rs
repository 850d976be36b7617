//! The server's ring: all who are due in one `io_uring_enter`, sockets that are direct descriptors, a receive armed on each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use funnel_uring::{Completion, File, Ops, Ring, RingConfig};
use socket2::Socket;

use super::stream::{Stream, Train};
use super::visits::Visits;
use super::{Counts, Error};

/// Sends until `stop` is set.
///
/// # Errors
/// The ring cannot be made.
pub fn run(
    mut stream: Stream,
    train: Duration,
    listener: Socket,
    connections: u32,
    stop: &AtomicBool,
) -> Result<Counts, Error> {
    let mut ring = Ring::new(RingConfig {
        files: connections,
        receive_buffers: 512,
        receive_buffer_bytes: 2_048,
        ..RingConfig::default()
    })?;
    ring.listen(listener, 0, ACCEPTS_ARMED);
    let mut sender = Sender {
        visits: Visits::new(train, Instant::now()),
        files: HashMap::new(),
        asked: Vec::new(),
        counts: Counts::default(),
    };
    let greeting = stream.greeting();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        stream.publish(now);
        sender.turn(&mut ring, &stream, &greeting, now);
    }
    Ok(sender.counts)
}

struct Sender {
    visits: Visits<(u64, File)>,
    /// By running number, which is their token; and whether they have asked for the stream.
    files: HashMap<u64, (File, bool)>,
    /// Who has asked for the stream and has no answer yet.
    asked: Vec<(u64, File)>,
    counts: Counts,
}

impl Sender {
    fn turn(&mut self, ring: &mut Ring, stream: &Stream, greeting: &[u8], now: Instant) {
        let due = self.visits.due();
        let mut connections: &[(u64, File)] = &[];
        let mut train = Train::default();
        if let Some(slot) = self.visits.take_due(now) {
            let (found, lost) = stream.train(slot.cursor);
            slot.cursor = stream.tail();
            if !slot.connections.is_empty() {
                self.counts.late_max = self.counts.late_max.max(now - due);
            }
            self.counts.lost += lost * slot.connections.len() as u64;
            if found.packets > 0 {
                (connections, train) = (&slot.connections, found);
            }
        }
        let asked = std::mem::take(&mut self.asked);
        let wait = if connections.is_empty() {
            due.max(now)
        } else {
            now
        };
        ring.turn(Some(wait), now, |batch| {
            for &(token, file) in &asked {
                batch.send(file, GREETING | token, [greeting]);
            }
            for &(token, file) in connections {
                batch.send(file, token, train.pieces.iter().copied());
            }
        });
        for newcomer in asked {
            self.visits.add(newcomer);
        }
        ring.drain(|completion, ops| self.take(completion, &train, greeting.len(), ops));
    }

    fn take(
        &mut self,
        completion: Completion<'_>,
        train: &Train<'_>,
        greeting_bytes: usize,
        ops: &mut Ops,
    ) {
        match completion {
            Completion::Accepted { file, .. } => {
                self.counts.connections += 1;
                let token = self.counts.connections;
                self.files.insert(token, (file, false));
                ops.receive(file, token);
            }
            // Whatever it is, it is a request; a second one is not answered.
            Completion::Received { token, .. } => {
                if let Some((file, has_asked @ false)) = self.files.get_mut(&token) {
                    *has_asked = true;
                    self.asked.push((token, *file));
                }
            }
            Completion::ReceiveEnded { token, .. } => self.close(token, ops),
            Completion::Sent { token, result } => {
                let is_train = token & GREETING == 0;
                let is_whole = match usize::try_from(result) {
                    Ok(taken) if is_train => self.counts.sent(train, taken),
                    Ok(taken) => taken == greeting_bytes,
                    Err(_) if is_train && result == -libc::EAGAIN => self.counts.sent(train, 0),
                    Err(_) => false, // the other side is gone
                };
                if !is_whole {
                    self.close(token & !GREETING, ops);
                }
            }
            _ => {}
        }
    }

    fn close(&mut self, token: u64, ops: &mut Ops) {
        if let Some((file, _)) = self.files.remove(&token) {
            ops.abort(file);
            self.visits.remove(|&(other, _)| other == token);
        }
    }
}

/// In the token of an answer's send.
const GREETING: u64 = 1 << 63;
const ACCEPTS_ARMED: u16 = 64;
