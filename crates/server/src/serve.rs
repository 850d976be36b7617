//! `funnel serve`: puts everything together, waits for a signal, takes everything apart.
//!
//! Order at start: look before promising (configuration, media, limits, kernel, ports), then sources, then shards, then the screen.
//! Order at the end: the shards end their sessions while sources still run, so that nobody sees a source vanish; then the sources.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use funnel_channel::Channel;
use funnel_control::config::{ChannelConfig, Config, PresentAs, SourceConfig, Start};
use funnel_control::directory::Directory;
use funnel_control::links;
use funnel_control::pages::Site;
use funnel_control::startup::{self, AnnouncementFacts, ChannelFacts, Facts, Purpose};
use funnel_engine::{Admission, AdmissionLimits, Found, UdpLimits};
use funnel_ingest::Ingest;
use funnel_session::LOAD_TEST_TOKEN;
use funnel_uring::Caps;
use funnel_uring::net::ListenOptions;
use tracing::{error, info, warn};

use crate::announce::{self, Board};
use crate::console::{say, start_log};
use crate::desk;
use crate::failure::Failure;
use crate::limits;
use crate::listen::{self, Addresses, Listeners};
use crate::machine;
use crate::mailbox::{Letter, Mailbox};
use crate::multicast;
use crate::settings::{self, REFERENCE, Settings};
use crate::shard::{self, Plan, Served, Services, Shard, Tuning};
use crate::signals;
use crate::sources;
use crate::tls::Certificate;
use crate::visitors::Desks;

/// Serves until a signal comes and every session has ended, or the drain time is over.
///
/// # Errors
/// Anything that forbids to start, and a shard that died.
pub fn run(config: Option<&Path>) -> Result<(), Failure> {
    let mut settings = settings::read(config)?;
    start_log(settings.config.log.level);
    raise_limits();
    Caps::probe().map_err(Failure::fault)?;
    let options = ListenOptions {
        send_buffer_bytes: Some(send_buffer_bytes(&settings)),
        ..ListenOptions::default()
    };
    let listen = &settings.config.listen;
    let listeners = listen::bind(listen, settings.file.is_none(), settings.workers, &options)
        .map_err(Failure::Fault)?;
    settings.warnings.extend(listeners.warnings.iter().cloned());
    // Before anything runs: a signal from here on ends it properly.
    let signals = signals::listen()
        .map_err(|error| Failure::fault(format!("signals cannot be received: {error}")))?;
    let running = start(&settings, listeners)?;
    say(&startup::screen(&facts(&settings, &running.addresses)));
    settings
        .warnings
        .iter()
        .for_each(|warning| warn!("{warning}"));
    report_channels(&settings);
    running.until_signalled(
        &signals,
        Duration::from_secs(settings.config.limits.drain_seconds.into()),
    )
}

fn raise_limits() {
    let (before, after) = machine::raise_open_files();
    if before < after {
        info!(before, after, "the limit of open files is raised");
    }
}

fn send_buffer_bytes(settings: &Settings) -> usize {
    let channels = settings.config.channels.iter().zip(&settings.media);
    limits::send_buffer_bytes(channels.map(|(channel, media)| {
        (
            limits::sending_bit_rate(channel, media.bit_rate),
            channel.train_ms,
        )
    }))
}

/// Everything that has to be ended.
struct Running {
    shards: Vec<Shard>,
    ingest: Ingest,
    addresses: Addresses,
    /// What all shards share.
    services: Arc<Services>,
    /// Looked at while the server runs.
    certificate: Option<Certificate>,
}

fn start(settings: &Settings, listeners: Listeners) -> Result<Running, Failure> {
    let config = &settings.config;
    let channels = sources::channels(config, settings.workers);
    let specs = sources::specs(config, &channels)?;
    let (certificate, tls) = match &config.tls {
        Some(files) if !listeners.addresses.https.is_empty() => {
            let loaded = Certificate::load(files, Instant::now()).map_err(Failure::fault)?;
            (Some(loaded.0), Some(loaded.1))
        }
        _ => (None, None),
    };
    let host = host(settings, &listeners.addresses);
    let port = links::port(&listeners.addresses.mms);
    let board = Board::default();
    let groups =
        multicast::deal(settings, &channels, &host, port, &board).map_err(Failure::Fault)?;
    let site = site(settings, &host, &listeners.addresses);
    let exhibits = desk::exhibits(config, &channels)?;
    let pages = desk::start(site, exhibits, board).map_err(Failure::fault)?;
    let ingest = funnel_ingest::spawn(specs).map_err(Failure::fault)?;
    let desks = Desks {
        ingest: ingest.door(),
        pages,
    };
    let services = Arc::new(services(settings, &channels, desks)?);
    let cores = machine::cores();
    let mut shards = Vec::new();
    for ((index, listeners), groups) in listeners.of_workers.into_iter().enumerate().zip(groups) {
        let core = cores.get(index % cores.len().max(1)).copied();
        let plan = Plan {
            index,
            core,
            listeners,
            tls: tls.clone(),
            groups,
            services: Arc::clone(&services),
        };
        shards.push(shard::start(plan).map_err(Failure::fault)?);
    }
    Ok(Running {
        shards,
        ingest,
        addresses: listeners.addresses,
        services,
        certificate,
    })
}

/// What the pages say of the server.
fn site(settings: &Settings, host: &str, addresses: &Addresses) -> Site {
    let port = |addresses: &[SocketAddr]| addresses.first().map(SocketAddr::port);
    Site {
        product: PRODUCT.to_owned(),
        host: host.to_owned(),
        host_is_configured: settings.config.server.public_host.is_some(),
        mms: links::port(&addresses.mms),
        http: port(&addresses.http),
        https: port(&addresses.https),
    }
}

fn services(
    settings: &Settings,
    channels: &[Arc<Channel>],
    desks: Desks,
) -> Result<Services, Failure> {
    let Config {
        limits,
        channels: configured,
        ..
    } = &settings.config;
    let entry = |(channel, shared): (&ChannelConfig, &Arc<Channel>)| {
        let here = || Served {
            channel: Arc::clone(shared),
            tuning: tuning_of(channel),
        };
        let found =
            sources::redirect(channel).map_or_else(|| Found::Channel(here()), Found::Elsewhere);
        (channel.name.clone(), found)
    };
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    Ok(Services {
        directory: Directory::new(configured.iter().zip(channels).map(entry))
            .map_err(Failure::fault)?,
        settings: Arc::new(funnel_session::server::Settings {
            version_info: version_info(settings.config.server.allow_load_test),
            product: PRODUCT.to_owned(),
            http_identity: http_identity(settings.config.server.present_as).to_owned(),
            handshake: seconds(limits.handshake_seconds),
            idle: seconds(limits.idle_seconds),
            udp: settings.config.listen.udp,
            udp_payload_max: header_part_max(settings.config.listen.udp_mtu),
            ..Default::default()
        }),
        admission: Arc::new(Admission::new(AdmissionLimits {
            viewers: limits.viewers,
            viewers_per_address: limits.viewers_per_address,
            bits_per_second_out: limits.bits_per_second_out,
        })),
        selections_max: usize::try_from(limits.selections_max).unwrap_or(usize::MAX),
        viewers_per_shard_max: settings.fit.per_worker,
        mailboxes: (0..settings.workers).map(|_| Mailbox::new()).collect(),
        desks,
        udp: udp_limits(settings.config.listen.udp_mtu),
    })
}

/// The payload of an IP packet of `mtu` bytes, behind the heads of IP and UDP.
fn udp_limits(mtu: u16) -> UdpLimits {
    UdpLimits {
        payload_max_v4: mtu - 28,
        payload_max_v6: mtu - 48,
        ..UdpLimits::default()
    }
}

/// The same for a part of an ASF header, over IPv6 as over IPv4, behind its own head; no larger than on Ethernet.
fn header_part_max(mtu: u16) -> u16 {
    (mtu - 48 - 8).min(funnel_session::server::Settings::default().udp_payload_max)
}

/// The name and version that Windows Media players over HTTP know us by: those of servers that are in use (protocol page of
/// WMSP, §2.2).
fn http_identity(present_as: PresentAs) -> &'static str {
    match present_as {
        PresentAs::Encoder => "Rex/9.0.0.2980",
        PresentAs::Server => "Cougar/9.5.6001.18281",
    }
}

/// What every viewer's program is told about this one: nothing, unless load tests are welcome.
fn version_info(allow_load_test: bool) -> String {
    if allow_load_test {
        format!("{PRODUCT} {LOAD_TEST_TOKEN}")
    } else {
        String::new()
    }
}

/// Name and version, as programs are told.
const PRODUCT: &str = concat!("funnel/", env!("CARGO_PKG_VERSION"));

fn tuning_of(channel: &ChannelConfig) -> Tuning {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    Tuning {
        train: Duration::from_millis(channel.train_ms.into()),
        fast_start: seconds(channel.fast_start_seconds),
        lag_disconnect: seconds(channel.lag_disconnect_seconds),
        open_wait: seconds(channel.open_wait_seconds),
        retain: seconds(channel.log_seconds),
        log_bytes_max: channel.log_bytes_max,
        udp_burst_packets: channel.udp_burst_packets,
    }
}

fn facts(settings: &Settings, addresses: &Addresses) -> Facts {
    let config = &settings.config;
    let channels = config
        .channels
        .iter()
        .zip(&settings.media)
        .map(|(channel, media)| ChannelFacts {
            name: channel.name.clone(),
            kind: channel.source.kind(),
            purpose: match channel.source {
                SourceConfig::Probe { .. } => Purpose::LoadTest,
                SourceConfig::Elsewhere { .. } => Purpose::Elsewhere,
                _ => Purpose::Show,
            },
            start: channel.start,
            bit_rate: media.bit_rate,
            title: channel.title.clone().or_else(|| media.title.clone()),
            announcement: announcement(channel, config),
        });
    Facts {
        product: "funnel".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        mms: addresses.mms.clone(),
        http: addresses.http.clone(),
        https: addresses.https.clone(),
        udp: config.listen.udp,
        host: host(settings, addresses),
        channels: channels.collect(),
        config_file: settings.file.clone(),
        reference: REFERENCE.to_owned(),
        warnings: settings.warnings.clone(),
    }
}

/// Where a channel's group is announced.
fn announcement(channel: &ChannelConfig, config: &Config) -> Option<AnnouncementFacts> {
    let multicast = channel.multicast.as_ref()?;
    let folder = config.multicast.nsc_directory.as_deref();
    let file = folder.map(|folder| announce::file(folder, &channel.name));
    Some(AnnouncementFacts {
        file: file.map(|file| file.display().to_string()),
        source_specific: multicast.source_specific,
    })
}

/// What players are told to call this machine.
fn host(settings: &Settings, addresses: &Addresses) -> String {
    let addresses = &addresses.mms;
    let public_host = settings.config.server.public_host.as_deref();
    let names_itself = public_host.is_some()
        || addresses
            .first()
            .is_some_and(|address| !address.ip().is_unspecified());
    let machine = if names_itself {
        String::new()
    } else {
        machine::host()
    };
    links::host(public_host, addresses, machine)
}

fn report_channels(settings: &Settings) {
    for (channel, media) in settings.config.channels.iter().zip(&settings.media) {
        let start = match channel.start {
            Start::Always => "always",
            Start::FirstViewer => "first-viewer",
        };
        info!(
            channel = channel.name,
            source = channel.source.kind(),
            start,
            bit_rate = media.bit_rate,
            "a channel is served"
        );
    }
}

impl Running {
    fn until_signalled(
        mut self,
        signals: &Receiver<&'static str>,
        drain: Duration,
    ) -> Result<(), Failure> {
        let died = self.wait(signals);
        let manner = self.drain(signals, drain);
        let all_well = self.end(manner);
        if died || !all_well {
            return Err(Failure::Fault(
                "a worker thread died: see the log; this is a bug in funnel".to_owned(),
            ));
        }
        info!("stopped");
        Ok(())
    }

    /// Waits for the first signal. True when a shard died instead.
    fn wait(&mut self, signals: &Receiver<&'static str>) -> bool {
        loop {
            match signals.recv_timeout(LOOK_EVERY) {
                Ok(signal) => {
                    info!(signal, "a signal ends the server");
                    return false;
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.shards.iter().any(Shard::is_finished) {
                        error!("a worker thread died; the others end their sessions");
                        return true;
                    }
                    self.look_at_certificate();
                }
                Err(RecvTimeoutError::Disconnected) => thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// Tells the shards of a new certificate.
    fn look_at_certificate(&mut self) {
        let Some(certificate) = &mut self.certificate else {
            return;
        };
        match certificate.look(Instant::now()) {
            None => {}
            Some(Err(error)) => {
                warn!(%error, "the new certificate cannot be used: the old one is shown on");
            }
            Some(Ok(config)) => {
                let letter = Letter::Certificate(config);
                for mailbox in &self.services.mailboxes {
                    // A box is full for moments only, but for that of a shard that has died.
                    let died = || self.shards.iter().any(Shard::is_finished);
                    while !mailbox.put(letter.clone()) && !died() {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
                info!("a new certificate is shown from now on");
            }
        }
    }

    /// Lets every session end, until all have or the time is over or the second signal comes.
    fn drain(&self, signals: &Receiver<&'static str>, drain: Duration) -> Manner {
        info!(
            seconds = drain.as_secs(),
            "draining: every session is ended; a second signal stops at once"
        );
        self.shards.iter().for_each(Shard::drain);
        let deadline = Instant::now() + drain;
        while !self.shards.iter().all(Shard::is_finished) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                warn!("the drain time is over; sessions that are left are cut");
                return Manner::Calm;
            }
            if let Ok(signal) = signals.recv_timeout(left.min(Duration::from_millis(20))) {
                warn!(signal, "the second signal: stopping at once");
                return Manner::AtOnce;
            }
        }
        Manner::Calm
    }

    /// Takes apart what is left. False when a shard panicked.
    fn end(self, manner: Manner) -> bool {
        self.shards.iter().for_each(Shard::stop);
        let ingest = self.ingest;
        // Children that ignore a polite request need seconds; who is in a hurry leaves them to the end of their pipe.
        let patience = match manner {
            Manner::Calm => Duration::from_secs(10),
            Manner::AtOnce => Duration::from_millis(500),
        };
        let (done, is_done) = mpsc::channel();
        let stopper = thread::Builder::new()
            .name("funnel-stop".into())
            .spawn(move || {
                ingest.stop();
                let _ = done.send(());
            });
        let mut all_well = true;
        for shard in self.shards {
            all_well &= shard.join();
        }
        if stopper.is_ok() && is_done.recv_timeout(patience).is_err() {
            warn!("a source's command is slow to end and is left behind");
        }
        all_well
    }
}

/// How to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manner {
    Calm,
    AtOnce,
}

/// How soon a dead shard is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_of_the_demo_has_the_lines_to_paste() {
        let settings = settings::read(None).expect("the demo");
        let addresses = Addresses {
            mms: vec!["127.0.0.1:1755".parse().expect("an address")],
            http: vec!["127.0.0.1:8080".parse().expect("an address")],
            ..Addresses::default()
        };
        let screen = startup::screen(&facts(&settings, &addresses));
        for line in [
            "ffplay http://127.0.0.1:8080/demo",
            "vlc http://127.0.0.1:8080/demo",
            "mplayer mms://127.0.0.1/demo",
            "vlc mmsu://127.0.0.1/demo",
            "browser    http://127.0.0.1:8080/",
            "on air  “funnel demo”",
        ] {
            assert!(screen.contains(line), "{line:?} in\n{screen}");
        }
    }

    #[test]
    fn configured_numbers_reach_the_engine() {
        let mut channel = Config::demo().channels.remove(0);
        (
            channel.train_ms,
            channel.fast_start_seconds,
            channel.lag_disconnect_seconds,
            channel.open_wait_seconds,
        ) = (50, 1, 2, 3);
        let tuning = tuning_of(&channel);
        let got = (
            tuning.train.as_millis(),
            tuning.fast_start.as_secs(),
            tuning.lag_disconnect.as_secs(),
            tuning.open_wait.as_secs(),
        );
        assert_eq!(got, (50, 1, 2, 3));
    }
}
