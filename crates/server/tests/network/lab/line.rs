//! A line between two namespaces that loses, doubles and delays frames as a rule says, and counts them.
//!
//! Two tap devices without any offload, and a thread that carries frames from one to the other: what leaves
//! the sender as one train of datagrams (GSO) is cut by the kernel before it gets here, so single datagrams
//! are lost, as on a real line.

use super::frame::{Fate, Frame, Toward};
use super::namespace::Namespace;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

/// What happened to the datagrams (UDP) on a line so far; other frames are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub to_host: Way,
    pub to_switch: Way,
}

/// What happened to those that went one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Way {
    /// All that came to the line.
    pub came: u64,
    pub lost: u64,
    pub doubled: u64,
    pub delayed: u64,
}

/// The line. Dropped, it is cut.
pub struct Line {
    shared: Arc<Mutex<Shared>>,
    carrier: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    counts: Counts,
    cut: bool,
}

impl Line {
    /// A line between a device of this name at the switch and one at the host.
    pub fn new(
        switch: (&Namespace, &str),
        host: (&Namespace, &str),
        rule: impl FnMut(&Frame<'_>) -> Fate + Send + 'static,
    ) -> Line {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let mut carrier = Carrier {
            host: tap(host),
            switch: tap(switch),
            rule,
            delayed: VecDeque::new(),
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new().name("line".to_owned());
        let thread = thread.spawn(move || carrier.run());
        Line {
            shared,
            carrier: Some(thread.expect("a thread for a line")),
        }
    }

    pub fn counts(&self) -> Counts {
        lock(&self.shared).counts
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        lock(&self.shared).cut = true;
        if let Some(carrier) = self.carrier.take() {
            let ended = carrier.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the line broke, see above"
            );
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A tap device whose queue holds more than a test ever sends at once: every loss is the rule's.
fn tap((namespace, name): (&Namespace, &str)) -> SyncDevice {
    namespace.within(|| {
        let tap = DeviceBuilder::new()
            .name(name)
            .layer(Layer::L2)
            .mtu(1_500)
            .with(|builder| {
                builder.tx_queue_len(50_000);
            })
            .enable(false)
            .build_sync()
            .unwrap_or_else(|error| {
                panic!("cannot make a tap device ({error}): the tests need /dev/net/tun and CAP_NET_ADMIN")
            });
        tap.set_nonblocking(true).expect("a tap that does not block");
        tap
    })
}

/// The thread's side of a line.
struct Carrier<R> {
    host: SyncDevice,
    switch: SyncDevice,
    rule: R,
    delayed: VecDeque<Delayed>,
    shared: Arc<Mutex<Shared>>,
}

struct Delayed {
    toward: Toward,
    frame: Vec<u8>,
    /// It goes when so many more frames have passed …
    behind: u32,
    /// … or at this time.
    at: Instant,
}

impl<R: FnMut(&Frame<'_>) -> Fate> Carrier<R> {
    const BEHIND: u32 = 3;
    const LATE: Duration = Duration::from_millis(10);

    fn run(&mut self) {
        // Short enough that a delayed frame goes in time and a cut line ends soon.
        const LOOK_EVERY_MS: u8 = 5;
        while !lock(&self.shared).cut {
            let mut ready =
                [&self.host, &self.switch].map(|tap| PollFd::new(tap.as_fd(), PollFlags::POLLIN));
            // An interrupted wait is a short wait.
            let _ = poll(&mut ready, PollTimeout::from(LOOK_EVERY_MS));
            self.carry_all(Toward::Host);
            self.carry_all(Toward::Switch);
            self.release(|delayed| delayed.at <= Instant::now());
        }
    }

    /// Forwards what has come, at most so much that the other direction is not forgotten.
    fn carry_all(&mut self, toward: Toward) {
        let mut buffer = [0; 2_048];
        for _ in 0..256 {
            let from = match toward {
                Toward::Host => &self.switch,
                Toward::Switch => &self.host,
            };
            match from.recv(&mut buffer) {
                Ok(length) => self.carry(toward, &buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // A device that is not up yet, or no longer.
                Err(_) => break,
            }
        }
    }

    fn carry(&mut self, toward: Toward, bytes: &[u8]) {
        let frame = Frame { toward, bytes };
        let fate = (self.rule)(&frame);
        if frame.is_udp() {
            let counts = &mut lock(&self.shared).counts;
            let way = match toward {
                Toward::Host => &mut counts.to_host,
                Toward::Switch => &mut counts.to_switch,
            };
            way.came += 1;
            match fate {
                Fate::Pass => {}
                Fate::Lose => way.lost += 1,
                Fate::Double => way.doubled += 1,
                Fate::Delay => way.delayed += 1,
            }
        }
        match fate {
            Fate::Lose => return,
            Fate::Pass => self.put(toward, bytes),
            Fate::Double => {
                self.put(toward, bytes);
                self.put(toward, bytes);
            }
            Fate::Delay => {
                self.delayed.push_back(Delayed {
                    toward,
                    frame: bytes.to_vec(),
                    behind: Self::BEHIND,
                    at: Instant::now() + Self::LATE,
                });
                return;
            }
        }
        for delayed in &mut self.delayed {
            if delayed.toward == toward {
                delayed.behind = delayed.behind.saturating_sub(1);
            }
        }
        self.release(|delayed| delayed.behind == 0);
    }

    fn release(&mut self, due: impl Fn(&Delayed) -> bool) {
        while self.delayed.front().is_some_and(&due) {
            let Delayed { toward, frame, .. } = self.delayed.pop_front().expect("looked at");
            self.put(toward, &frame);
        }
    }

    fn put(&self, toward: Toward, bytes: &[u8]) {
        let to = match toward {
            Toward::Host => &self.host,
            Toward::Switch => &self.switch,
        };
        // A device that is down takes nothing: its host is not there yet.
        let _ = to.send(bytes);
    }
}
