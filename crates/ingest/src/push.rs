//! Encoders that push: what is around `funnel_session::push::Receiver`, one for each channel that takes encoders.
//!
//! Connections come from the door, with the head of their first request, and from the channel's own TCP port. Each has a task that reads
//! and writes; this one decides. Packets are published as they arrive, whether anybody watches or not: an encoder cannot be told to wait.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use funnel_session::push::{
    Access, ConnectionId, End, Input, Options, Output, Receiver, Secret, Way,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::{sleep_until, timeout},
};
use tracing::{info, warn};

use crate::{
    Stream, Visitor,
    attend::{Heard, attend},
    intake::{Intake, Patience},
    lines::Flood,
    password::{self, Form, Login},
    runtime::{PushOptions, Stop},
    stage::Stage,
};

/// Where a channel's encoders come in.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// From the door.
    pub(crate) encoders: mpsc::Receiver<Visitor>,
    /// Raw ASF.
    pub(crate) listener: Option<TcpListener>,
}

/// Connections that wait for a channel's task.
pub(crate) const VISITORS_MAX: usize = 16;

/// Feeds a channel with what is pushed until ingest stops.
pub(crate) async fn run(
    options: PushOptions,
    patience: Patience,
    stage: Stage,
    entrance: Entrance,
    mut stop: Stop,
) {
    let Entrance {
        mut encoders,
        listener,
    } = entrance;
    let intake = Intake::new(stage, patience, "the encoder");
    let listener = listener.map(tokio::net::TcpListener::from_std).transpose();
    let listener = listener.unwrap_or_else(|error| {
        warn!(channel = intake.name(), %error, "the port for raw ASF cannot be watched");
        None
    });
    let (heard, mut hearing) = mpsc::channel(HEARD_MAX);
    let (checked, mut checking) = mpsc::unbounded_channel();
    let mut desk = Desk::new(options, intake, heard, checked);
    loop {
        let wake_at = desk.work();
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            Some((id, is_good)) = checking.recv() => desk.tell(Input::Checked(id, is_good)),
            Some((id, heard)) = hearing.recv() => match heard {
                Heard::Bytes(bytes) => desk.tell(Input::Bytes(id, &bytes)),
                Heard::Closed => desk.tell(Input::Closed(id)),
            },
            Some(visitor) = encoders.recv() => desk.admit_visitor(visitor),
            accepted = accept(listener.as_ref()) => desk.admit_raw(accepted),
            Some(_) = desk.tasks.join_next() => {}
            () = sleep_until(wake_at.unwrap_or_else(far_off).into()) => desk.on_time(),
        }
    }
    desk.tell(Input::Shutdown);
    desk.work();
    let farewell = async { while desk.tasks.join_next().await.is_some() {} };
    let _ = timeout(FAREWELL, farewell).await;
}

/// One channel's encoders.
struct Desk {
    receiver: Receiver,
    intake: Intake,
    login: Option<Login>,
    /// Words for those who are connected; dropping them ends a connection.
    orders: HashMap<ConnectionId, (mpsc::UnboundedSender<Vec<u8>>, Way)>,
    tasks: JoinSet<()>,
    heard: mpsc::Sender<(ConnectionId, Heard)>,
    checked: mpsc::UnboundedSender<(ConnectionId, bool)>,
    next_id: u64,
    /// Between [`Output::Began`] and [`Output::Ended`].
    is_running: bool,
    refusals: Flood,
}

impl Desk {
    fn new(
        options: PushOptions,
        intake: Intake,
        heard: mpsc::Sender<(ConnectionId, Heard)>,
        checked: mpsc::UnboundedSender<(ConnectionId, bool)>,
    ) -> Self {
        let access = options.login.as_ref().map(|login| Access {
            user: login.user.clone(),
            secret: match login.password.form() {
                Form::Digest(hash) => Secret::Digest(*hash),
                Form::Argon2(_) => Secret::Asked,
            },
        });
        let now = Instant::now();
        let receiver = Receiver::new(
            Options {
                access,
                takeover: options.takeover,
                product: concat!("funnel/", env!("CARGO_PKG_VERSION")).to_owned(),
                secret: random(),
            },
            now,
        );
        Self {
            receiver,
            intake,
            login: options.login,
            orders: HashMap::new(),
            tasks: JoinSet::new(),
            heard,
            checked,
            next_id: 0,
            is_running: false,
            refusals: Flood::new(now),
        }
    }

    fn tell(&mut self, input: Input<'_>) {
        self.receiver.handle_input(Instant::now(), input);
    }

    fn on_time(&mut self) {
        if self.is_running && !self.intake.is_silent() && self.intake.silent_at() <= Instant::now()
        {
            self.intake.fall_silent();
        }
        self.tell(Input::Timeout);
    }

    fn admit_visitor(&mut self, visitor: Visitor) {
        let peer = visitor.peer;
        match visitor.into_stream() {
            Ok(stream) => self.admit(stream, peer, Way::Http),
            Err(error) => {
                warn!(channel = self.intake.name(), %peer, %error, "an encoder's connection cannot be watched")
            }
        }
    }

    fn admit_raw(&mut self, accepted: std::io::Result<(tokio::net::TcpStream, SocketAddr)>) {
        let stream = accepted.and_then(|(socket, peer)| Ok((Stream::new(socket, None)?, peer)));
        match stream {
            Ok((stream, peer)) => self.admit(stream, peer, Way::Raw),
            Err(error) => warn!(channel = self.intake.name(), %error, "no encoder can be taken"),
        }
    }

    fn admit(
        &mut self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        peer: SocketAddr,
        way: Way,
    ) {
        // Those who are told why they are let go have a task for a moment longer.
        while self.tasks.try_join_next().is_some() {}
        let alike = self.orders.values().filter(|(_, known)| *known == way);
        if alike.count() >= CONNECTIONS_MAX || self.tasks.len() >= TASKS_MAX {
            let (pass, held) = self.refusals.pass(Instant::now());
            if pass {
                warn!(channel = self.intake.name(), %peer, held, "too many encoders are connected; one is let go");
            }
            return;
        }
        let connection = ConnectionId(self.next_id);
        self.next_id += 1;
        let (orders, taking) = mpsc::unbounded_channel();
        self.orders.insert(connection, (orders, way));
        let task = attend(connection, stream, self.heard.clone(), taking);
        self.tasks.spawn_local(task);
        self.tell(Input::Connected {
            connection,
            peer: peer.ip().to_canonical(),
            way,
            push_id: u32::from_le_bytes(random()),
        });
    }

    /// Does what the receiver says; returns when to wake it, or to look whether the encoder has fallen silent.
    fn work(&mut self) -> Option<Instant> {
        loop {
            match self.receiver.poll_output() {
                Output::Send(id, bytes) => {
                    if let Some((orders, _)) = self.orders.get(&id) {
                        // One whose task has ended is on its way out.
                        let _ = orders.send(bytes);
                    }
                }
                Output::Close(id) => drop(self.orders.remove(&id)),
                Output::Check {
                    connection,
                    user,
                    password,
                } => self.check(connection, &user, password),
                Output::Began { peer, agent } => {
                    self.end_run();
                    info!(channel = self.intake.name(), %peer, agent = shortened(&agent), "an encoder sends");
                    self.intake.begin_run(true);
                    self.is_running = true;
                }
                Output::Media(bytes) => {
                    if let Err(fault) = self.intake.take(&bytes) {
                        warn!(channel = self.intake.name(), %fault, "what the encoder sends cannot be used");
                        self.tell(Input::Unusable);
                    }
                }
                Output::Paused => {
                    info!(
                        channel = self.intake.name(),
                        "the encoder's connection is lost"
                    );
                    self.intake.pause();
                }
                Output::Ended(end) => {
                    self.end_run();
                    match end {
                        End::Away => self.intake.away(),
                        End::Over => self.intake.finish(),
                    }
                }
                Output::Refused {
                    peer,
                    status,
                    reason,
                } => {
                    let (pass, held) = self.refusals.pass(Instant::now());
                    if pass {
                        warn!(channel = self.intake.name(), %peer, status = status.as_u16(), held, reason, "an encoder is turned away");
                    }
                }
                Output::Idle { wake_at } => {
                    let silent_at = (self.is_running && !self.intake.is_silent())
                        .then(|| self.intake.silent_at());
                    return wake_at.into_iter().chain(silent_at).min();
                }
            }
        }
    }

    fn end_run(&mut self) {
        if std::mem::take(&mut self.is_running) {
            info!(
                channel = self.intake.name(),
                packets = self.intake.packets(),
                "the encoder has ended"
            );
            self.intake.end_run();
        }
    }

    /// Compares a password with its Argon2 hash on a thread of its own, one at a time in all ingest. A wrong one costs a pause, so that
    /// guessing takes no more than a fraction of a core; who leaves before its turn gives it up, so that nobody waits behind those.
    fn check(&self, connection: ConnectionId, user: &str, password: String) {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
        let Some(login) = &self.login else { return };
        let Form::Argon2(hash) = login.password.form().clone() else {
            return;
        };
        let Some(orders) = self.orders.get(&connection).map(|(it, _)| it.downgrade()) else {
            return;
        };
        let is_user = login.user == user;
        let checked = self.checked.clone();
        tokio::task::spawn_local(async move {
            let turn = ONE_AT_A_TIME.lock().await;
            if orders.upgrade().is_none_or(|orders| orders.is_closed()) {
                return;
            }
            let compare = move || password::matches(&hash, password.as_bytes());
            let is_password = tokio::task::spawn_blocking(compare).await;
            let is_good = is_password.unwrap_or(false) && is_user;
            drop(turn); // the pause is the guesser's, not the next one's
            if !is_good {
                tokio::time::sleep(WRONG_PASSWORD).await;
            }
            // Whoever has gone meanwhile needs no answer.
            let _ = checked.send((connection, is_good));
        });
    }
}

async fn accept(
    listener: Option<&tokio::net::TcpListener>,
) -> std::io::Result<(tokio::net::TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => {
            let accepted = listener.accept().await;
            if accepted.is_err() {
                // Out of descriptors, most likely: not at once again.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            accepted
        }
        None => std::future::pending().await,
    }
}

/// Random bytes that nobody can guess.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .expect("the system has random numbers: the hash maps of std need them, too");
    bytes
}

/// What a peer calls itself, fit for a log.
fn shortened(agent: &str) -> String {
    agent
        .chars()
        .filter(|letter| !letter.is_control())
        .take(80)
        .collect()
}

fn far_off() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// Connections of one channel, each way: encoders, those that try, and those that are being refused.
const CONNECTIONS_MAX: usize = 32;
/// The same with those that have been refused and read why.
const TASKS_MAX: usize = 4 * CONNECTIONS_MAX;
/// Chunks read ahead of the channel's task, over all its connections.
const HEARD_MAX: usize = 4;
/// For the last words to encoders when ingest stops.
const FAREWELL: Duration = Duration::from_millis(500);
/// Ten guesses cost two seconds.
const WRONG_PASSWORD: Duration = Duration::from_millis(200);
