//! The configured channels and what feeds them, as ingest takes them.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use funnel_asf::Probe;
use funnel_channel::{Channel, ChannelOptions};
use funnel_control::config::{self, ChannelConfig, Config, PushConfig, SourceConfig, Start};
use funnel_control::links;
use funnel_ingest::{Fallback, Login, PullOptions, PushOptions, Source, SourceSpec};
use funnel_session::server::Redirect;

use crate::failure::Failure;
use crate::settings::DEMO;

/// All channels, in the order of the configuration.
pub fn channels(config: &Config, workers: usize) -> Vec<Arc<Channel>> {
    config
        .channels
        .iter()
        .map(|channel| {
            let start = match channel.start {
                Start::Always => funnel_channel::Start::Always,
                Start::FirstViewer => funnel_channel::Start::FirstViewer,
            };
            let followers = followers(config, &channel.name);
            let groups = usize::from(channel.multicast.is_some());
            let options = ChannelOptions {
                start,
                readers_max: workers + groups + followers + READERS_BESIDES,
            };
            Channel::new(&channel.name, options)
        })
        .collect()
}

/// Channels that a channel may stand in for, each of them with a reader of its own.
fn followers(config: &Config, name: &str) -> usize {
    let names_it = |fallback: &config::Fallback| matches!(fallback, config::Fallback::Channel(it) if it == name);
    config
        .channels
        .iter()
        .filter(|channel| channel.fallback.iter().any(names_it))
        .count()
}

/// Readers of a log that are none of these: kept free for tools that look on.
const READERS_BESIDES: usize = 4;

/// What ingest is to feed the channels with; `channels` are those of [`channels`]. A channel of another server has nothing.
///
/// # Errors
/// When a source cannot be made that way, which the check of the configuration finds first.
pub fn specs(config: &Config, channels: &[Arc<Channel>]) -> Result<Vec<SourceSpec>, Failure> {
    config
        .channels
        .iter()
        .zip(channels)
        .filter_map(|(channel, shared)| spec(channel, shared, channels).transpose())
        .collect()
}

fn spec(
    channel: &ChannelConfig,
    shared: &Arc<Channel>,
    all: &[Arc<Channel>],
) -> Result<Option<SourceSpec>, Failure> {
    let source = match &channel.source {
        SourceConfig::Demo => Source::Demo {
            bytes: DEMO,
            looped: true,
        },
        SourceConfig::File {
            path,
            looped,
            speed,
        } => Source::File {
            path: path.clone(),
            looped: *looped,
            speed: *speed,
        },
        SourceConfig::Command { run } => Source::Command { run: run.clone() },
        SourceConfig::Push(push) => Source::Push(push_options(push)?),
        SourceConfig::Pull(pull) => Source::Pull(PullOptions {
            url: pull.url.clone(),
            ca: pull.ca.clone(),
        }),
        SourceConfig::Elsewhere { .. } => return Ok(None),
        SourceConfig::Probe {
            bits_per_second,
            packet_bytes,
        } => Source::Probe(Probe::new(*bits_per_second, *packet_bytes).map_err(Failure::fault)?),
    };
    Ok(Some(SourceSpec {
        channel: Arc::clone(shared),
        source,
        fallback: channel
            .fallback
            .iter()
            .filter_map(|fallback| stand_in(fallback, all))
            .collect(),
        title: channel.title.clone(),
        author: channel.author.clone(),
        log_seconds: channel.log_seconds,
        log_bytes_max: channel.log_bytes_max,
        source_grace: Duration::from_secs(channel.source_grace_seconds.into()),
        file_id: random_id(),
    }))
}

/// Which configured channels there are was checked with the configuration.
fn stand_in(fallback: &config::Fallback, all: &[Arc<Channel>]) -> Option<Fallback> {
    match fallback {
        config::Fallback::File(path) => Some(Fallback::File(path.clone())),
        config::Fallback::Channel(name) => {
            let channel = all.iter().find(|channel| channel.name() == name)?;
            Some(Fallback::Channel(Arc::clone(channel)))
        }
    }
}

fn push_options(push: &PushConfig) -> Result<PushOptions, Failure> {
    let login = match (&push.user, &push.password_hash) {
        (Some(user), Some(hash)) => Some(Login {
            user: user.clone(),
            password: hash.parse().map_err(Failure::fault)?,
        }),
        _ => None,
    };
    Ok(PushOptions {
        login,
        takeover: push.takeover,
        tcp: push.tcp,
    })
}

/// std draws the keys of a hash map from the system's random numbers; enough for an id that only has to differ from run to run.
fn random_id() -> [u8; 16] {
    let draw = || RandomState::new().build_hasher().finish();
    let both = u128::from(draw()) << 64 | u128::from(draw());
    both.to_le_bytes()
}

/// Where a channel is instead, if it is elsewhere.
pub fn redirect(channel: &ChannelConfig) -> Option<Arc<Redirect>> {
    let SourceConfig::Elsewhere { url } = &channel.source else {
        return None;
    };
    let (mms, http) = links::both_families(url);
    Some(Arc::new(Redirect { mms, http }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("funnel.toml");
        std::fs::write(&path, text).expect("written");
        let mut loaded = config::load(&path).expect("readable");
        loaded.check(Vec::new()).expect("sound")
    }

    #[test]
    fn each_header_gets_an_id_of_its_own() {
        assert_ne!(random_id(), random_id());
    }

    #[test]
    fn fallbacks_are_the_channels_themselves_and_are_counted_among_their_readers() {
        let channel = |name: &str, fallback: &str| {
            format!("[channels.{name}]\nsource = {{ kind = \"demo\" }}\nfallback = [{fallback}]\n")
        };
        let text = [
            channel("a", "\"b\", \"c\""),
            channel("b", "\"C\""),
            channel("c", ""),
        ];
        let config = config(&text.concat());
        let channels = channels(&config, 2);
        let readers: Vec<usize> = channels.iter().map(|it| it.options().readers_max).collect();
        assert_eq!(readers, [6, 7, 8]);
        let specs = specs(&config, &channels).expect("all can be made");
        let stand_ins = |spec: &SourceSpec| -> Vec<Arc<Channel>> {
            let channels = spec.fallback.iter().map(|fallback| match fallback {
                Fallback::Channel(channel) => Arc::clone(channel),
                Fallback::File(path) => panic!("{path:?} is no channel"),
            });
            channels.collect()
        };
        let [of_a, of_b] = [&specs[0], &specs[1]].map(stand_ins);
        assert!(Arc::ptr_eq(&of_a[0], &channels[1]) && Arc::ptr_eq(&of_a[1], &channels[2]));
        assert!(Arc::ptr_eq(&of_b[0], &channels[2]));
    }
}
