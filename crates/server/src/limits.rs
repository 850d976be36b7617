//! What fits this machine: viewers into the rings' tables, unsent bytes into a socket's buffer.

use funnel_control::config::{ChannelConfig, SourceConfig};

/// How many viewers a server takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fit {
    /// Viewers (connections, to be exact) of one worker.
    pub per_worker: u32,
    /// What the operator should know.
    pub warning: Option<String>,
}

/// A configured number of viewers that cannot be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{viewers} viewers do not fit: {workers} workers hold {each} connections each, the limit of open files (hard: {open_files_max}) less {RESERVED}"
)]
pub struct TooMany {
    viewers: u32,
    workers: usize,
    each: u32,
    open_files_max: u64,
}

impl TooMany {
    /// What to do.
    pub const HELP: &str = "raise the limit (LimitNOFILE= in systemd, --ulimit nofile= in docker), use more workers, or lower the number";
}

/// Sees whether `viewers` (0 = as many as fit) find room in the direct descriptor tables of `workers` rings. Such a table may be as
/// long as the hard limit of open files allows, each ring's for itself; kernel buffers do not count.
///
/// # Errors
/// When they do not.
pub fn fit(viewers: u32, workers: usize, open_files_max: u64) -> Result<Fit, TooMany> {
    let room = u32::try_from(open_files_max.min(TABLE_MAX))
        .unwrap_or(u32::MAX)
        .saturating_sub(RESERVED);
    let all = u64::from(room) * workers as u64;
    if u64::from(viewers) > all {
        return Err(TooMany {
            viewers,
            workers,
            each: room,
            open_files_max,
        });
    }
    // The kernel deals connections out by hash, so a worker may get more than its share.
    let share = if viewers == 0 {
        UNLIMITED
    } else {
        viewers.max(SMALL) + viewers / 8
    };
    let warning = (viewers == 0 && all < MANY).then(|| {
        format!(
            "the limit of open files (hard: {open_files_max}) lets {workers} workers hold {all} viewers at most; raise it for more (LimitNOFILE= \
             in systemd)"
        )
    });
    Ok(Fit {
        per_worker: share.min(room),
        warning,
    })
}

/// Descriptors kept out of the viewers' reach in each ring: connections on their way out (`FILES_SPARE` of shard.rs).
const RESERVED: u32 = 256;
/// IORING_MAX_FIXED_FILES of the kernel: the longest table a ring can have.
const TABLE_MAX: u64 = 1 << 20;
/// Per worker when nobody set a limit: tables are laid out at the start, and a core is busy with fewer.
const UNLIMITED: u32 = 1 << 16;
/// Connections a worker takes even if few viewers are allowed, so that those above the limit are told and not left waiting.
const SMALL: u32 = 1024;
/// What funnel is built for; a machine that holds fewer is worth a warning.
const MANY: u64 = 10_000;

/// Bytes of payload a viewer's socket may hold unsent (SO_SNDBUF): two trains and one fast-start chunk of the channel with the highest
/// rate, within 32 KiB … 1 MiB.
///
/// Larger, and stalled viewers hide in the kernel what the log holds already; smaller, and a train does not fit in one send.
/// `rates` are (bit/s, ms of a train). A chunk is what the engine sends in one go while a viewer catches up: half a second of media.
pub fn send_buffer_bytes(rates: impl IntoIterator<Item = (u64, u32)>) -> usize {
    const CHUNK_MS: u64 = 500;
    let wanted = |(bits_per_s, train_ms): (u64, u32)| {
        let bytes_per_s = bits_per_s.div_ceil(8);
        bytes_per_s.saturating_mul(2 * u64::from(train_ms) + CHUNK_MS) / 1000
    };
    let most = rates.into_iter().map(wanted).max().unwrap_or(0);
    usize::try_from(most)
        .unwrap_or(usize::MAX)
        .clamp(SEND_BUFFER_BYTES_MIN, SEND_BUFFER_BYTES_MAX)
}

const SEND_BUFFER_BYTES_MIN: usize = 32 << 10;
const SEND_BUFFER_BYTES_MAX: usize = 1 << 20;

/// Bit/s at which a channel is sent: the media's rate by the pace of its file; for sources that have not said, a usual one.
pub fn sending_bit_rate(channel: &ChannelConfig, bit_rate: Option<u32>) -> u64 {
    let rate = bit_rate.unwrap_or(UNKNOWN_BIT_RATE);
    match channel.source {
        SourceConfig::File { speed, .. } => (f64::from(rate) * speed) as u64,
        _ => u64::from(rate),
    }
}

/// Such channels were made for modems and DSL; too small only means more, smaller sends.
const UNKNOWN_BIT_RATE: u32 = 500_000;

#[cfg(test)]
mod tests {
    use funnel_control::config::Defaults;

    use super::*;

    #[test]
    fn what_cannot_fit_is_refused_with_the_numbers() {
        assert!(fit(39_488, 2, 20_000).is_ok());
        let error = fit(39_489, 2, 20_000)
            .expect_err("one too many")
            .to_string();
        for word in ["39489", "2 workers", "19744", "20000"] {
            assert!(error.contains(word), "{word}: {error}");
        }
    }

    #[test]
    fn a_worker_takes_more_than_its_share_but_never_more_than_its_table() {
        assert_eq!(
            fit(10_000, 2, 1 << 20).map(|fit| fit.per_worker),
            Ok(11_250)
        );
        assert_eq!(fit(10_000, 2, 6_000).map(|fit| fit.per_worker), Ok(5_744));
        assert_eq!(fit(3, 2, 20_000).map(|fit| fit.per_worker), Ok(1_024));
        assert_eq!(fit(0, 64, u64::MAX).map(|fit| fit.per_worker), Ok(65_536));
        assert_eq!(fit(0, 2, 20_000).map(|fit| fit.per_worker), Ok(19_744));
    }

    #[test]
    fn only_a_small_machine_warns() {
        let warning = |viewers, limit| fit(viewers, 2, limit).expect("it fits").warning;
        assert!(warning(0, 1024).is_some_and(|text| text.contains("1536 viewers")));
        assert_eq!(warning(0, 20_000), None);
        assert_eq!(warning(500, 1024), None, "the operator has said how many");
        assert!(fit(0, 1, 100).is_ok_and(|fit| fit.per_worker == 0));
    }

    #[test]
    fn the_send_buffer_follows_the_highest_rate() {
        assert_eq!(send_buffer_bytes([]), 32 << 10);
        assert_eq!(send_buffer_bytes([(299_200, 200)]), 33_660);
        assert_eq!(
            send_buffer_bytes([(299_200, 200), (2_000_000, 200), (64_000, 2_000)]),
            225_000
        );
        assert_eq!(send_buffer_bytes([(64_000, 200)]), 32 << 10);
        assert_eq!(send_buffer_bytes([(u64::MAX, u32::MAX)]), 1 << 20);
    }

    #[test]
    fn a_fast_file_is_sent_faster_than_its_media_says() {
        let source = SourceConfig::File {
            path: "x".into(),
            looped: true,
            speed: 2.5,
        };
        let film = ChannelConfig::new("film", source, Defaults::default());
        assert_eq!(sending_bit_rate(&film, Some(300_000)), 750_000);
        let demo = ChannelConfig::new("demo", SourceConfig::Demo, Defaults::default());
        assert_eq!(sending_bit_rate(&demo, None), 500_000);
    }
}
