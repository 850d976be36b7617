//! Requirements: `delay_p99<500ms,missing=0,failed=0`, and whether a run meets them.
//!
//! What was not measured does not meet a requirement: a run in which nobody arrived has no failures, and that is no merit.
//! The verdict says so in its `measured`.

use std::fmt;
use std::str::FromStr;

use crate::outcome::{Outcome, ServerUsage};
use crate::report::{self, words};
use crate::tally::{Datagrams, Distribution, Tally};

/// What a run must show: all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requirements(Vec<Requirement>);

impl Requirements {
    /// One verdict for each requirement, in the order given.
    pub fn check(&self, outcome: &Outcome) -> Vec<Verdict> {
        self.0
            .iter()
            .map(|requirement| requirement.check(outcome))
            .collect()
    }
}

impl FromStr for Requirements {
    type Err = RequireError;

    /// Comma separated; empty parts are left out.
    fn from_str(text: &str) -> Result<Self, RequireError> {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for Requirements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, requirement) in self.0.iter().enumerate() {
            let comma = if position > 0 { "," } else { "" };
            write!(f, "{comma}{}", requirement.text)?;
        }
        Ok(())
    }
}

/// One requirement and what came of it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Verdict {
    /// The requirement as given.
    pub text: String,
    /// What was measured, with unit; `n/a: …` with the reason if nothing was.
    pub measured: String,
    /// Whether it is met; never with `n/a`.
    pub met: bool,
}

/// Why a requirement cannot be read.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum RequireError {
    /// Not of the form `metric operator value`.
    #[error("'{0}' is not of the form metric<value; the operators are < <= = >= >")]
    Shape(String),
    /// No metric of this name.
    #[error("there is no metric '{name}'{hint}\n{}", catalogue())]
    Metric {
        /// As given.
        name: String,
        /// Empty or `, did you mean …?`.
        hint: String,
    },
    /// The value is no number of the metric's kind.
    #[error("'{text}': '{value}' is not {wanted}")]
    Value {
        /// The requirement.
        text: String,
        /// Its right side.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
}

#[derive(Clone, Debug, PartialEq)]
struct Requirement {
    text: String,
    metric: String,
    order: Order,
    bound: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

impl Order {
    /// Longer ones first.
    const ALL: [(&str, Self); 6] = [
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("==", Self::Equal),
        ("<", Self::Less),
        (">", Self::More),
        ("=", Self::Equal),
    ];

    fn holds(self, measured: f64, bound: f64) -> bool {
        match self {
            Self::Less => measured < bound,
            Self::AtMost => measured <= bound,
            Self::Equal => measured == bound,
            Self::AtLeast => measured >= bound,
            Self::More => measured > bound,
        }
    }
}

impl FromStr for Requirement {
    type Err = RequireError;

    fn from_str(text: &str) -> Result<Self, RequireError> {
        let shape = || RequireError::Shape(text.to_owned());
        let at = text.find(['<', '>', '=']).ok_or_else(shape)?;
        let (name, rest) = text.split_at(at);
        let (sign, order) = Order::ALL
            .into_iter()
            .find(|(sign, _)| rest.starts_with(sign))
            .ok_or_else(shape)?;
        let (name, value) = (name.trim(), rest[sign.len()..].trim());
        if name.is_empty() || value.is_empty() {
            return Err(shape());
        }
        let metric = find(name)?;
        let bound = metric
            .unit
            .parse(value)
            .ok_or_else(|| RequireError::Value {
                text: text.to_owned(),
                value: value.to_owned(),
                wanted: metric.unit.wanted(),
            })?;
        Ok(Self {
            text: text.to_owned(),
            metric: metric.name,
            order,
            bound,
        })
    }
}

impl Requirement {
    fn check(&self, outcome: &Outcome) -> Verdict {
        let metric = find(&self.metric).expect("looked up when it was parsed");
        let (measured, met) = match (metric.read)(outcome) {
            Ok(value) => (metric.unit.show(value), self.order.holds(value, self.bound)),
            Err(why) => (format!("n/a: {why}"), false),
        };
        Verdict {
            text: self.text.clone(),
            measured,
            met,
        }
    }
}

/// What a metric is counted in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    /// Kept in µs.
    Time,
    /// µs of CPU in each second.
    Cpu,
    /// 100 = as asked.
    Percent,
    Count,
    Bytes,
    BitsPerSecond,
    /// 1 = one core.
    Cores,
}

impl Unit {
    /// Longer suffixes first where one ends in the other.
    fn suffixes(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::Time | Self::Cpu => &[
                ("us", 1.0),
                ("µs", 1.0),
                ("μs", 1.0),
                ("ms", 1e3),
                ("min", 6e7),
                ("s", 1e6),
            ],
            Self::Percent => &[("%", 1.0), ("", 1.0)],
            Self::Count => &[("", 1.0)],
            Self::Bytes => &[
                ("KiB", 1024.0),
                ("MiB", 1_048_576.0),
                ("GiB", 1_073_741_824.0),
                ("kB", 1e3),
                ("MB", 1e6),
                ("GB", 1e9),
                ("B", 1.0),
            ],
            Self::BitsPerSecond => &[("kb/s", 1e3), ("Mb/s", 1e6), ("Gb/s", 1e9), ("b/s", 1.0)],
            Self::Cores => &[("%", 0.01), ("", 1.0)],
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Time => "a time such as 850us, 500ms or 1.5s",
            Self::Cpu => "a time of CPU per second and viewer such as 30us",
            Self::Percent => "a percentage such as 99%",
            Self::Count => "a whole number",
            Self::Bytes => "a size such as 800B, 4KiB or 1MB",
            Self::BitsPerSecond => "a rate such as 300kb/s or 3Gb/s",
            Self::Cores => "a number of cores such as 0.8 or 80%",
        }
    }

    fn parse(self, value: &str) -> Option<f64> {
        let (number, factor) = self
            .suffixes()
            .iter()
            .find_map(|(suffix, factor)| Some((value.strip_suffix(suffix)?, factor)))?;
        let number = number.trim();
        // Nothing but digits and a point: no "inf", no "nan", no exponents.
        if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return None;
        }
        let number: f64 = number.parse().ok()?;
        (self != Self::Count || number.fract() == 0.0).then_some(number * factor)
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Time => words::time(value),
            Self::Cpu => format!("{} µs", words::trimmed(value, 1)),
            Self::Percent => format!("{} %", words::trimmed(value, 2)),
            Self::Count => words::count(value as u64),
            Self::Bytes => words::bytes(value),
            Self::BitsPerSecond => words::rate(value),
            Self::Cores => words::trimmed(value, 2),
        }
    }
}

type Measured = Result<f64, &'static str>;

/// One thing that can be required.
struct Metric {
    name: String,
    unit: Unit,
    read: Box<dyn Fn(&Outcome) -> Measured>,
}

fn metric(
    name: impl Into<String>,
    unit: Unit,
    read: impl Fn(&Outcome) -> Measured + 'static,
) -> Metric {
    Metric {
        name: name.into(),
        unit,
        read: Box::new(read),
    }
}

/// All of them, in the order of the documentation.
fn metrics() -> Vec<Metric> {
    let mut all = times();
    all.extend(rates());
    all.extend(packets());
    all.extend(datagrams());
    all.extend(viewers());
    all.extend(server());
    all.push(metric("warnings", Unit::Count, |o| {
        Ok(o.warnings.len() as f64)
    }));
    all
}

type Place = fn(&Distribution) -> f64;

/// Where in a distribution to look.
const PLACES: [(&str, Place); 7] = [
    ("min", |d| d.min() as f64),
    ("mean", |d| d.mean()),
    ("p50", |d| d.value_at_quantile(0.5) as f64),
    ("p90", |d| d.value_at_quantile(0.9) as f64),
    ("p99", |d| d.value_at_quantile(0.99) as f64),
    ("p999", |d| d.value_at_quantile(0.999) as f64),
    ("max", |d| d.max() as f64),
];

fn times() -> Vec<Metric> {
    type Which = fn(&Tally) -> &Distribution;
    type Absent = fn(&Outcome) -> Measured;
    /// The distribution's name, itself, and what its values are without samples.
    const DISTRIBUTIONS: [(&str, Which, Absent); 7] = [
        ("delay", |t| &t.delay, |o| Err(no_delay(o))),
        ("delay_ramp", |t| &t.delay_ramp, |o| Err(no_delay(o))),
        ("connect", |t| &t.connect, |_| Err("nobody connected")),
        ("first_packet", |t| &t.first_packet, |_| Err(NO_MEDIA)),
        ("gap", |t| &t.gap, |_| Err(NO_MEDIA)),
        ("start", |t| &t.start, |_| Err(NO_PLAYBACK)),
        // Who played and never stalled has stalls of no length.
        ("stall", |t| &t.stall, |o| playback(o, 0)),
    ];
    let pairs = DISTRIBUTIONS
        .into_iter()
        .flat_map(|which| PLACES.map(|place| (which, place)));
    pairs
        .map(|((name, which, absent), (place, at))| {
            metric(format!("{name}_{place}"), Unit::Time, move |outcome| {
                let distribution = which(&outcome.tally);
                match distribution.is_empty() {
                    true => absent(outcome),
                    false => Ok(at(distribution)),
                }
            })
        })
        .collect()
}

fn rates() -> Vec<Metric> {
    const PLACES: [(&str, Place); 4] = [
        ("min", |d| d.min() as f64),
        ("p1", |d| d.value_at_quantile(0.01) as f64),
        ("p50", |d| d.value_at_quantile(0.5) as f64),
        ("max", |d| d.max() as f64),
    ];
    let place = |(place, at): (&str, Place)| {
        metric(format!("rate_{place}"), Unit::Percent, move |o| {
            let rates = &o.tally.rate_permille;
            match (rates.is_empty(), o.served.bits_per_s) {
                (false, _) => Ok(at(rates) / 10.0),
                (true, None) => Err("the channel's rate is not known; say --rate"),
                (true, Some(_)) => Err("nobody played for two seconds"),
            }
        })
    };
    let mut all: Vec<_> = PLACES.map(place).into();
    all.push(metric("throughput", Unit::BitsPerSecond, |o| {
        throughput(o).ok_or("there was no steady time")
    }));
    all
}

fn packets() -> Vec<Metric> {
    vec![
        metric("missing", Unit::Count, |o| {
            numbered(o, o.tally.counts.missing)
        }),
        metric("duplicate", Unit::Count, |o| {
            numbered(o, o.tally.counts.duplicate)
        }),
        metric("reordered", Unit::Count, |o| {
            numbered(o, o.tally.counts.reordered)
        }),
        metric("corrupt", Unit::Count, |o| {
            marked(o, o.tally.counts.corrupt)
        }),
        metric("bad", Unit::Count, |o| marked(o, bad(o))),
        metric("overdue", Unit::Count, |o| {
            marked(o, o.tally.counts.overdue)
        }),
        metric("verified", Unit::Count, |o| {
            marked(o, o.tally.counts.verified)
        }),
    ]
}

/// What the network did, before repair.
fn datagrams() -> Vec<Metric> {
    type Count = fn(&Datagrams) -> u64;
    const COUNTS: [(&str, Count); 8] = [
        ("received", |d| d.received),
        ("dropped", |d| d.dropped),
        ("duplicate", |d| d.duplicate),
        ("reordered", |d| d.reordered),
        ("gaps", |d| d.gaps),
        ("requested", |d| d.requested),
        ("recovered", |d| d.recovered),
        ("lost", |d| d.lost),
    ];
    const PLACES: [(&str, Place); 3] = [
        ("p50", |d| d.value_at_quantile(0.5) as f64),
        ("p99", |d| d.value_at_quantile(0.99) as f64),
        ("max", |d| d.max() as f64),
    ];
    fn heard(outcome: &Outcome) -> Result<&Datagrams, &'static str> {
        let datagrams = &outcome.tally.datagrams;
        match datagrams.received {
            0 => Err("no datagrams were received; use mmsu:// or a multicast"),
            _ => Ok(datagrams),
        }
    }
    let count = |(name, read): (&str, Count)| {
        metric(format!("udp_{name}"), Unit::Count, move |o| {
            heard(o).map(|datagrams| read(datagrams) as f64)
        })
    };
    let place = |(name, at): (&str, Place)| {
        metric(format!("udp_loss_{name}"), Unit::Percent, move |o| {
            heard(o)?;
            match o.tally.loss_ppm.is_empty() {
                true => Err(NO_MEDIA),
                false => Ok(at(&o.tally.loss_ppm) / 1e4),
            }
        })
    };
    let mut all: Vec<_> = COUNTS.map(count).into();
    all.push(metric("udp_recovered_share", Unit::Percent, |o| {
        let share = heard(o)?.recovered_share();
        share.map(|share| share * 100.0).ok_or("nothing was missed")
    }));
    all.extend(PLACES.map(place));
    all
}

fn viewers() -> Vec<Metric> {
    type Viewers = fn(&Outcome) -> u64;
    const VIEWERS: [(&str, Viewers); 11] = [
        ("failed", |o| o.tally.counts.failed.total()),
        ("connect_failed", |o| o.tally.counts.failed.connect),
        ("refused", |o| o.tally.counts.failed.refused),
        ("timed_out", |o| o.tally.counts.failed.timed_out),
        ("no_media", |o| o.tally.counts.failed.no_media),
        ("closed_early", |o| o.tally.counts.failed.closed_early),
        ("protocol", |o| o.tally.counts.failed.protocol),
        ("arrived", |o| o.tally.counts.arrived),
        ("connected", |o| o.tally.counts.connected),
        ("played", |o| o.tally.counts.played),
        ("succeeded", |o| o.tally.counts.succeeded),
    ];
    let mut all: Vec<_> = VIEWERS
        .map(|(name, read)| {
            metric(name, Unit::Count, move |o| {
                let counts = &o.tally.counts;
                match (counts.arrived, counts.arrived - counts.misbehaved) {
                    (0, _) => Err("nobody arrived"),
                    (_, 0) => Err("all misbehaved"),
                    _ => Ok(read(o) as f64),
                }
            })
        })
        .into();
    all.push(metric("viewers", Unit::Count, |o| {
        Ok(o.viewers_mean.round())
    }));
    all.push(metric("stalls", Unit::Count, |o| {
        playback(o, o.tally.counts.stalls)
    }));
    all.push(metric("stalled_viewers", Unit::Count, |o| {
        playback(o, o.tally.counts.stalled_viewers)
    }));
    all
}

fn server() -> Vec<Metric> {
    fn of_server(outcome: &Outcome, read: fn(&ServerUsage) -> f64) -> Measured {
        match &outcome.usage.server {
            Some(server) => Ok(read(server)),
            None => Err("the server was not watched to the end; say --server-pid"),
        }
    }
    vec![
        metric("cpu_per_viewer", Unit::Cpu, |o| {
            match o.viewers_mean > 0.0 {
                true => of_server(o, |s| s.cpu_us_per_viewer_s.unwrap_or_default()),
                false => Err(NO_MEDIA),
            }
        }),
        metric("server_cores", Unit::Cores, |o| of_server(o, |s| s.cores)),
        metric("server_memory_per_viewer", Unit::Bytes, |o| {
            match o.tally.counts.arrived {
                0 => Err("nobody arrived"),
                _ => of_server(o, |s| s.resident_bytes_per_viewer),
            }
        }),
        metric("listen_overflows", Unit::Count, |o| {
            of_server(o, |s| s.listen_overflows as f64)
        }),
        metric("own_cores", Unit::Cores, |o| Ok(o.usage.own_cores)),
        metric("own_busiest_worker", Unit::Cores, |o| {
            Ok(o.usage.own_busiest_worker)
        }),
    ]
}

/// Missing, duplicate, reordered and corrupt packets.
pub fn bad(outcome: &Outcome) -> u64 {
    let counts = &outcome.tally.counts;
    counts.missing + counts.duplicate + counts.reordered + counts.corrupt
}

/// Mean of the bits received per second, all viewers, over the moments of the steady time; `None` if there was none.
pub fn throughput(outcome: &Outcome) -> Option<f64> {
    let steady = report::steady_moments(outcome);
    let sum: f64 = steady.iter().map(|moment| moment.bits_per_s).sum();
    (!steady.is_empty()).then(|| sum / steady.len() as f64)
}

/// Why there is no delay.
pub fn no_delay(outcome: &Outcome) -> &'static str {
    match (outcome.tally.counts.packets, outcome.served.marked) {
        (0, _) => NO_PACKETS,
        (_, false) => NO_MARKS,
        (_, true) => "no packet was due while its viewer played",
    }
}

fn numbered(outcome: &Outcome, value: u64) -> Measured {
    match (outcome.tally.counts.packets, outcome.served.marked) {
        (0, _) => Err(NO_PACKETS),
        (_, false) if outcome.served.protocol.starts_with("HTTP") => {
            Err("neither this protocol numbers packets nor does this source mark them")
        }
        _ => Ok(value as f64),
    }
}

fn marked(outcome: &Outcome, value: u64) -> Measured {
    match (outcome.tally.counts.packets, outcome.served.marked) {
        (0, _) => Err(NO_PACKETS),
        (_, false) => Err(NO_MARKS),
        (_, true) => Ok(value as f64),
    }
}

fn playback(outcome: &Outcome, value: u64) -> Measured {
    match outcome.tally.start.is_empty() {
        true => Err(NO_PLAYBACK),
        false => Ok(value as f64),
    }
}

const NO_MARKS: &str = "this source carries no marks; use a channel of kind probe";
const NO_MEDIA: &str = "nobody got media";
const NO_PACKETS: &str = "no ASF packets were received";
const NO_PLAYBACK: &str = "nobody's playback began";

fn find(name: &str) -> Result<Metric, RequireError> {
    let mut all = metrics();
    if let Some(at) = all.iter().position(|metric| metric.name == name) {
        return Ok(all.swap_remove(at));
    }
    let nearest = all
        .iter()
        .map(|metric| (strsim::damerau_levenshtein(name, &metric.name), metric))
        .min_by_key(|(distance, _)| *distance);
    let hint = match nearest {
        Some((distance, metric)) if distance <= 3.max(name.len() / 3) => {
            format!(", did you mean '{}'?", metric.name)
        }
        _ => String::new(),
    };
    Err(RequireError::Metric {
        name: name.to_owned(),
        hint,
    })
}

/// The names there are, times folded to one line.
fn catalogue() -> String {
    let mut lines = String::from(
        "times, each with _min _mean _p50 _p90 _p99 _p999 _max: \
         delay delay_ramp connect first_packet gap start stall\nothers:",
    );
    let folded = times().len();
    for metric in &metrics()[folded..] {
        lines.push(' ');
        lines.push_str(&metric.name);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn verdict(outcome: &Outcome, text: &str) -> Verdict {
        let requirements: Requirements = text.parse().expect("a requirement");
        requirements.check(outcome).remove(0)
    }

    fn error(text: &str) -> String {
        let error = text.parse::<Requirements>().expect_err("not a requirement");
        error.to_string()
    }

    #[test]
    fn what_the_network_did_can_be_required() {
        let outcome = sample::over_udp();
        for (text, measured, met) in [
            ("udp_lost=80", "80", true),
            ("udp_recovered_share>=99%", "99 %", true),
            ("udp_recovered_share>99%", "99 %", false),
            ("udp_loss_p99<=0.01%", "0.01 %", true),
        ] {
            let verdict = verdict(&outcome, text);
            assert_eq!((&*verdict.measured, verdict.met), (measured, met), "{text}");
        }
        let over_tcp = verdict(&sample::clean(), "udp_lost=0");
        assert!(!over_tcp.met, "what was not measured does not meet it");
        assert!(over_tcp.measured.contains("no datagrams"));
    }

    #[test]
    fn each_operator_means_what_it_says_at_its_border() {
        let outcome = sample::clean();
        // (text, holds), 1,000 viewers succeeded.
        for (text, met) in [
            ("succeeded<1000", false),
            ("succeeded<1001", true),
            ("succeeded<=1000", true),
            ("succeeded<=999", false),
            ("succeeded=1000", true),
            ("succeeded==1000", true),
            ("succeeded=999", false),
            ("succeeded>=1000", true),
            ("succeeded>=1001", false),
            ("succeeded>999", true),
            ("succeeded>1000", false),
        ] {
            let verdict = verdict(&outcome, text);
            assert_eq!(verdict.met, met, "{text}");
            assert_eq!(verdict.measured, "1,000");
        }
    }

    #[test]
    fn units_are_read_and_measured_values_told_in_theirs() {
        let outcome = sample::clean();
        // (one that holds, the same with a border on the other side, what was measured)
        for (holds, fails, measured) in [
            ("delay_max<=0.6s", "delay_max<500000us", "550 ms"),
            ("delay_max < 1min", "delay_max > 1min", "550 ms"),
            ("rate_p50>=99%", "rate_p50>101", "100 %"),
            ("throughput>250Mb/s", "throughput>1Gb/s", "300 Mb/s"),
            ("cpu_per_viewer<30us", "cpu_per_viewer<20µs", "25 µs"),
            ("server_cores<3%", "server_cores<0.02", "0.03"),
            (
                "server_memory_per_viewer<=4KiB",
                "server_memory_per_viewer<3kB",
                "3.12 KiB",
            ),
            ("warnings=0", "warnings>0", "0"),
        ] {
            assert_eq!(
                verdict(&outcome, holds),
                Verdict {
                    text: holds.to_owned(),
                    measured: measured.to_owned(),
                    met: true
                }
            );
            assert!(!verdict(&outcome, fails).met, "{fails}");
        }
    }

    #[test]
    fn what_was_not_measured_is_not_met_whatever_is_asked() {
        let mut unmarked = sample::clean();
        unmarked.served.marked = false;
        unmarked.tally.delay.reset();
        unmarked.usage.server = None;
        for (text, why) in [
            ("delay_p99<1s", "this source carries no marks"),
            ("delay_p99>0s", "this source carries no marks"),
            ("corrupt=0", "this source carries no marks"),
            ("bad=0", "this source carries no marks"),
            ("cpu_per_viewer<1s", "--server-pid"),
        ] {
            let verdict = verdict(&unmarked, text);
            assert!(!verdict.met, "{text}");
            assert!(verdict.measured.starts_with("n/a: "), "{verdict:?}");
            assert!(verdict.measured.contains(why), "{verdict:?}");
        }
        // MMS numbers its packets, marks or not; a plain GET does not.
        assert!(verdict(&unmarked, "missing=0").met);
        unmarked.served.protocol = "HTTP".to_owned();
        assert!(!verdict(&unmarked, "missing=0").met);
    }

    #[test]
    fn a_run_without_viewers_meets_nothing_but_what_counts_them() {
        let nobody = sample::nobody();
        for metric in metrics() {
            if ["viewers", "warnings", "own_cores", "own_busiest_worker"]
                .contains(&metric.name.as_str())
            {
                continue;
            }
            assert!((metric.read)(&nobody).is_err(), "{}", metric.name);
        }
    }

    #[test]
    fn a_run_in_which_all_misbehaved_has_no_failures_and_that_is_no_merit() {
        let mut outcome = sample::clean();
        outcome.tally.counts.misbehaved = outcome.tally.counts.arrived;
        assert_eq!(
            verdict(&outcome, "failed=0").measured,
            "n/a: all misbehaved"
        );
    }

    #[test]
    fn viewers_who_played_and_never_stalled_have_stalls_of_no_length() {
        let mut outcome = sample::clean();
        outcome.tally.stall.reset();
        assert!(verdict(&outcome, "stall_max<1s").met);
        outcome.tally.start.reset();
        assert!(!verdict(&outcome, "stall_max<1s").met);
    }

    #[test]
    fn a_misspelt_name_gets_the_nearest_and_all_there_are() {
        let text = error("delay_p98<1s");
        assert!(text.starts_with("there is no metric 'delay_p98', did you mean 'delay_p9"));
        let text = error("mising=0");
        assert!(
            text.starts_with("there is no metric 'mising', did you mean 'missing'?\n"),
            "{text}"
        );
        for metric in &metrics()[times().len()..] {
            assert!(text.contains(&format!(" {}", metric.name)), "{text}");
        }
        assert!(!error("zzzzzzzzzzzz=0").contains("did you mean"));
    }

    #[test]
    fn values_that_are_none_are_refused_with_what_is_wanted() {
        assert_eq!(
            error("delay_p99<500"),
            "'delay_p99<500': '500' is not a time such as 850us, 500ms or 1.5s"
        );
        for text in [
            "failed=1.5",
            "failed=0ms",
            "failed<-1",
            "rate_p1>fast",
            "delay_p50<infs",
            "delay_p50<nanms",
            "server_memory_per_viewer<4",
        ] {
            assert!(error(text).contains(" is not a "), "{text}");
        }
        for text in ["failed", "=0", "failed=", "failed!0"] {
            assert!(error(text).contains("not of the form"), "{text}");
        }
    }

    #[test]
    fn every_metric_is_found_by_its_name_and_the_page_of_the_manual_names_it() {
        let manual = include_str!("../../docs/load-testing.md");
        let distributions = [
            "delay",
            "delay_ramp",
            "connect",
            "first_packet",
            "gap",
            "start",
            "stall",
        ];
        for metric in metrics() {
            assert_eq!(find(&metric.name).expect("itself").name, metric.name);
        }
        let named = metrics().into_iter().skip(times().len()).map(|m| m.name);
        for name in named.chain(distributions.map(|name| format!("{name}_"))) {
            assert!(manual.contains(&format!("`{name}")), "{name}");
        }
    }

    #[test]
    fn requirements_are_shown_as_given_and_checked_in_order() {
        let requirements: Requirements = " delay_p99<500ms, missing=0,,".parse().expect("two");
        assert_eq!(requirements.to_string(), "delay_p99<500ms,missing=0");
        let verdicts = requirements.check(&sample::clean());
        assert_eq!(verdicts[1].text, "missing=0");
        assert_eq!("".parse(), Ok(Requirements::default()));
    }
}
