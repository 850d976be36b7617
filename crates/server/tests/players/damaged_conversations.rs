//! Whatever a peer sends, the server goes on serving the others and gives back what it took.

use crate::support::media;
use crate::support::server::{Server, Setup};
use crate::support::viewer::{self, Event, Viewer, answer, ask};
use crate::support::{all_at_once, wait_until};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How many conversations, and from which seed they are spoilt.
const CONVERSATIONS: u64 = 200;
const SEED: u64 = 0x5eed_1755;

/// xorshift64*: enough to spoil bytes, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).expect("below a usize")
    }
}

/// What a well-behaved player sends from connecting to leaving, message by message.
fn sound_conversation() -> Vec<Vec<u8>> {
    let bodies: [(u16, Vec<u8>); 9] = [
        (
            ask::CONNECT,
            viewer::connect("NSPlayer/7.0.0.1956; {33715801-BAB3-9D85-24E9-03B90328270A}; Host: h"),
        ),
        (ask::CONNECT_FUNNEL, viewer::connect_funnel()),
        (ask::OPEN_FILE, viewer::open_file("show")),
        (ask::READ_BLOCK, viewer::read_block(2)),
        (ask::STREAM_SWITCH, viewer::stream_switch(&[(1, 0), (2, 0)])),
        (ask::START_PLAYING, viewer::start_playing(4)),
        (ask::PONG, vec![0; 8]),
        (ask::STOP_PLAYING, vec![1, 0, 0, 0, 4, 0, 0, 0]),
        (ask::CLOSE_FILE, vec![1, 0, 0, 0, 1, 0, 0, 0]),
    ];
    bodies
        .iter()
        .zip(0..)
        .map(|((command, body), sequence)| Viewer::message(sequence, *command, body))
        .collect()
}

/// Spoils one to three things of a conversation.
fn spoil(random: &mut Random, messages: &mut Vec<Vec<u8>>) {
    for _ in 0..=random.below(3) {
        let which = random.below(messages.len());
        let length = messages[which].len();
        match random.below(9) {
            0 => messages[which][random.below(length)] ^= 1 << random.below(8),
            1 => {
                // A length, count or offset at an extreme: every such field is a dword.
                let at = random.below(length / 4) * 4;
                let value =
                    [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_fff8_u32][random.below(6)];
                messages[which][at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            2 => messages[which].truncate(random.below(length)),
            3 => {
                let again = messages[which].clone();
                messages.insert(which, again);
            }
            4 => {
                let other = random.below(messages.len());
                messages.swap(which, other);
            }
            5 => {
                messages.remove(which);
                if messages.is_empty() {
                    messages.push(b"GET / HTTP/1.0\r\n\r\n".to_vec());
                }
            }
            6 => {
                let garbage = (0..random.below(300))
                    .map(|_| random.next() as u8)
                    .collect();
                messages.insert(which, garbage);
            }
            7 => {
                let at = random.below(length);
                messages[which][at..].fill(random.next() as u8);
            }
            _ => {
                let from = random.below(length);
                let to = from + random.below(length - from);
                let piece = messages[which][from..to].to_vec();
                messages[which].splice(from..from, piece);
            }
        }
    }
}

/// Sends one spoilt conversation in pieces and reads what comes back until the server closes or `patience` ends.
fn converse(port: u16, seed: u64, patience: Duration) {
    let mut random = Random(seed | 1);
    let mut messages = sound_conversation();
    spoil(&mut random, &mut messages);
    let mut stream =
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server still accepts");
    stream
        .set_read_timeout(Some(Duration::from_millis(15)))
        .expect("a time-out");
    let deadline = Instant::now() + patience;
    let mut sink = [0; 16 * 1024];
    'all: for message in messages {
        let mut rest = &message[..];
        while !rest.is_empty() {
            let piece = if random.below(3) == 0 {
                1 + random.below(rest.len())
            } else {
                rest.len()
            };
            // The server may have hung up already: that is its right.
            if stream.write_all(&rest[..piece]).is_err() {
                break 'all;
            }
            rest = &rest[piece..];
        }
        if matches!(stream.read(&mut sink), Ok(0)) {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    while Instant::now() < deadline {
        match stream.read(&mut sink) {
            Ok(0) => break,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => break,
            _ => {}
        }
    }
}

fn serve() -> Server {
    let mut setup = Setup::new();
    setup.file_looped("show", &media::file("av-300k.wmv"));
    setup.table("[limits]\nhandshake_seconds = 3\nidle_seconds = 10\n");
    setup.start()
}

#[test]
fn two_hundred_of_them_disturb_nobody_and_leave_nothing_behind() {
    let server = serve();
    let port = server.port();
    // Warm up: what the first sessions allocate is kept for the next ones.
    for seed in 0..20 {
        converse(port, SEED + seed, Duration::from_millis(100));
    }
    let mut good = Viewer::play(port, "show");
    wait_until(
        "the warm-up's descriptors are closed",
        Duration::from_secs(15),
        || {
            let before = server.descriptors();
            std::thread::sleep(Duration::from_millis(500));
            server.descriptors() == before
        },
    );
    let (descriptors, resident) = (server.descriptors(), server.resident_bytes());

    let finished = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&finished);
    let watching = std::thread::spawn(move || {
        let mut packets = 0;
        while !until.load(Ordering::Acquire) {
            good.packet().expect("media goes on for the good viewer");
            packets += 1;
        }
        (packets, good.gaps)
    });
    let lanes = 8;
    let jobs = (0..lanes)
        .map(|lane| {
            let job = move || {
                for seed in (lane..CONVERSATIONS).step_by(lanes as usize) {
                    converse(
                        port,
                        SEED.wrapping_mul(seed + 1),
                        Duration::from_millis(400),
                    );
                }
            };
            (
                format!("lane {lane}"),
                Box::new(job) as Box<dyn FnOnce() + Send>,
            )
        })
        .collect();
    all_at_once(jobs);
    // Right after it a new viewer is served as ever.
    let mut after = Viewer::play(port, "show");
    for _ in 0..10 {
        after.packet().expect("media for a new viewer");
    }
    drop(after);
    wait_until(
        "all descriptors are given back",
        Duration::from_secs(20),
        || server.descriptors() <= descriptors,
    );
    finished.store(true, Ordering::Release);
    let (packets, gaps) = watching.join().expect("the good viewer");
    assert!(packets > 10, "{packets} packets for the good viewer");
    assert_eq!(gaps, 0, "the good viewer missed something");
    let grown = server.resident_bytes().saturating_sub(resident);
    assert!(grown < 8 << 20, "memory grew by {grown} bytes");
    server.stop();
}

/// A peer that sends a byte now and then never finishes its handshake: it is hung up on.
#[test]
fn a_handshake_that_never_ends_is_closed() {
    let server = serve();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).expect("accepted");
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a time-out");
    let message = sound_conversation().remove(0);
    let began = Instant::now();
    let closed = message.iter().any(|byte| {
        let sent = stream.write_all(&[*byte]);
        sent.is_err() || matches!(stream.read(&mut [0; 64]), Ok(0))
    });
    assert!(closed, "still open after {:?}", began.elapsed());
    let took = began.elapsed();
    assert!(
        (Duration::from_secs(2)..Duration::from_secs(9)).contains(&took),
        "closed after {took:?}"
    );
    server.stop();
}

#[test]
fn each_mistake_gets_its_code() {
    let server = serve();
    let port = server.port();

    let mut unknown = Viewer::connect(port);
    assert_eq!(
        unknown.open("nothing-here").result(),
        0xc00d_001a,
        "NS_E_FILE_NOT_FOUND"
    );

    let mut early = Viewer::connect(port);
    assert_eq!(early.open("show").result(), 0);
    let mut impatient = Viewer::connect(port);
    impatient.send(
        ask::CONNECT,
        &viewer::connect("NSPlayer/9.0.0.2980; {3300AD50-2C39-46C0-AE0A-0123456789AB}; Host: h"),
    );
    impatient.answer(answer::CONNECTED);
    impatient.send(ask::START_PLAYING, &viewer::start_playing(4));
    assert_eq!(
        impatient.answer(answer::STARTED_PLAYING).result(),
        0xc00d_002b,
        "NS_E_INVALID_REQUEST"
    );

    let mut wrong_seal = Viewer::connect(port);
    let mut message = sound_conversation().remove(0);
    message[12] = b'X';
    wrong_seal.stream().write_all(&message).expect("sent");
    assert_eq!(wrong_seal.next(), Event::Closed);

    let mut endless = Viewer::connect(port);
    let mut message = sound_conversation().remove(0);
    message[8..12].copy_from_slice(&0x7fff_fff8_u32.to_le_bytes());
    endless.stream().write_all(&message).expect("sent");
    assert_eq!(endless.next(), Event::Closed);

    server.stop();
}
