//! `--html`: one page with the verdict, the numbers and the plots. It refers to nothing outside itself and runs no scripts.
//!
//! `page.html` and `search.html` are the templates; they escape all text, because names and failures are the server's words. The
//! pages are well-formed XML too, which is how the tests read them.

use minijinja::{Environment, context};
use serde::Serialize;

use crate::outcome::{Moment, Outcome};
use crate::report::plot::{self, Plot, Shape, Unit};
use crate::report::{self, summary, words};
use crate::require::{self, Verdict};
use crate::search::{Step, best};
use crate::tally::Distribution;

/// The page of a run.
pub fn page(outcome: &Outcome, verdicts: &[Verdict]) -> String {
    let asked = &outcome.asked;
    render(
        "page.html",
        context! {
            title => format!("{}: {} viewers", asked.url, words::count(asked.viewers)),
            verdict => Headline::of(verdicts),
            facts => facts(outcome),
            tiles => tiles(outcome),
            warnings => outcome.warnings,
            verdicts => verdicts,
            no_delay => outcome.tally.delay.is_empty().then(|| require::no_delay(outcome)),
            wide => percentile_plot("Delay by percentile", Shape::Wide, &delays(outcome)),
            plots => plots(outcome),
            times => times(outcome),
            counts => counts(outcome),
            failures => outcome.failures,
            usage => usage(outcome),
            setup => setup(outcome),
            command => asked.command,
        },
    )
}

/// The page of a search: the curve, and every step.
pub fn search(steps: &[Step], requirements: &str) -> String {
    let first = steps.first().map(|step| &step.outcome);
    let best = best(steps);
    let rows = steps.iter().map(|step| SearchRow::of(step, best));
    render(
        "search.html",
        context! {
            title => first.map_or("search".to_owned(), |o| format!("{}: search", o.asked.url)),
            url => first.map(|outcome| &outcome.asked.url),
            best => best.map(|step| words::count(step.viewers.into())),
            requirements => requirements,
            facts => first.map(search_facts).unwrap_or_default(),
            plots => search_plots(steps),
            heads => steps.first().map(|s| s.verdicts.iter().map(|v| &v.text).collect::<Vec<_>>()),
            rows_of_steps => rows.collect::<Vec<_>>(),
            setup => first.map(setup).unwrap_or_default(),
            command => first.map(|outcome| &outcome.asked.command),
        },
    )
}

fn render(name: &str, context: minijinja::Value) -> String {
    const TEMPLATES: [(&str, &str); 3] = [
        ("parts.html", include_str!("parts.html")),
        ("page.html", include_str!("page.html")),
        ("search.html", include_str!("search.html")),
    ];
    let mut templates = Environment::new();
    templates.set_trim_blocks(true);
    templates.set_lstrip_blocks(true);
    for (name, source) in TEMPLATES {
        templates
            .add_template(name, source)
            .expect("a test renders it");
    }
    let template = templates.get_template(name).expect("one of the above");
    template.render(context).expect("a test renders it")
}

#[derive(Serialize)]
struct Headline {
    class: &'static str,
    text: String,
}

impl Headline {
    fn of(verdicts: &[Verdict]) -> Self {
        let unmet = verdicts.iter().filter(|verdict| !verdict.met).count();
        let (class, text) = match report::passed(verdicts) {
            None => ("neutral", "Measured, nothing required".to_owned()),
            Some(true) => ("good", "Passed".to_owned()),
            Some(false) => (
                "bad",
                format!("Failed: {unmet} of {} not met", verdicts.len()),
            ),
        };
        Self { class, text }
    }
}

fn facts(outcome: &Outcome) -> Vec<String> {
    let asked = &outcome.asked;
    let mut facts = vec![
        asked.arrival.clone(),
        format!("{} measured", words::span(outcome.steady.as_secs_f64())),
    ];
    if !asked.misbehaving.is_empty() {
        facts.push(asked.misbehaving.clone());
    }
    facts.push(summary::served(outcome));
    facts.push(began(outcome));
    facts
}

fn began(outcome: &Outcome) -> String {
    let text = humantime::format_rfc3339_seconds(outcome.began).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

/// One key number.
#[derive(Serialize)]
struct Tile {
    label: &'static str,
    value: String,
    note: String,
    /// `good`, `bad` or nothing.
    class: &'static str,
}

fn tiles(outcome: &Outcome) -> Vec<Tile> {
    let (tally, counts) = (&outcome.tally, &outcome.tally.counts);
    let tile = |label, value, note, class| Tile {
        label,
        value,
        note,
        class,
    };
    let alarm = |trouble| if trouble { "bad" } else { "good" };
    let failed = counts.failed.total();
    let mut tiles = vec![tile(
        "Viewers succeeded",
        words::count(counts.succeeded),
        match (failed, counts.misbehaved) {
            (0, 0) => "none failed".to_owned(),
            (failed, 0) => format!("{} failed", words::count(failed)),
            (failed, misbehaved) => format!(
                "{} failed, {} misbehaved on purpose",
                words::count(failed),
                words::count(misbehaved)
            ),
        },
        alarm(failed > 0 || counts.succeeded == 0),
    )];
    tiles.push(time_tile("Delay p99", &tally.delay, "not measured"));
    tiles.push(time_tile(
        "First packet p99",
        &tally.first_packet,
        "nobody got media",
    ));
    tiles.push(match counts.packets {
        0 => tile("Bad packets", "n/a".to_owned(), "no ASF".to_owned(), ""),
        packets => tile(
            "Bad packets",
            words::count(require::bad(outcome)),
            format!("of {} received", words::count(packets)),
            alarm(require::bad(outcome) > 0),
        ),
    });
    tiles.push(match tally.start.is_empty() {
        true => tile("Stalls", "n/a".to_owned(), "nobody played".to_owned(), ""),
        false => tile(
            "Stalls",
            words::count(counts.stalls),
            match counts.stalls {
                0 => format!("{} s of buffer held", outcome.asked.buffer_s),
                _ => words::counted(counts.stalled_viewers, "viewer", "viewers"),
            },
            alarm(counts.stalls > 0),
        ),
    });
    tiles.push(tile(
        "Throughput",
        require::throughput(outcome).map_or("n/a".to_owned(), words::rate),
        format!(
            "{} playing, mean",
            words::count(outcome.viewers_mean.round() as u64)
        ),
        "",
    ));
    let server = outcome.usage.server.as_ref();
    let unwatched = || "no --server-pid".to_owned();
    tiles.push(tile(
        "Server CPU per viewer",
        words::cpu(server.and_then(|s| s.cpu_us_per_viewer_s)),
        server.map_or_else(unwatched, |s| {
            format!("{} of a core", words::percent(s.cores))
        }),
        "",
    ));
    tiles.push(tile(
        "Server memory per viewer",
        server.map_or("n/a".to_owned(), |s| {
            words::bytes(s.resident_bytes_per_viewer)
        }),
        server.map_or_else(unwatched, |s| {
            format!("{} resident", words::bytes(s.resident_bytes as f64))
        }),
        "",
    ));
    tiles
}

fn time_tile(label: &'static str, us: &Distribution, absent: &str) -> Tile {
    let at = |quantile| words::time(us.value_at_quantile(quantile) as f64);
    let (value, note) = match us.is_empty() {
        true => ("n/a".to_owned(), absent.to_owned()),
        false => (at(0.99), format!("p50 {}, max {}", at(0.5), at(1.0))),
    };
    Tile {
        label,
        value,
        note,
        class: "",
    }
}

/// A distribution with its name and colour.
type Named<'a> = (&'static str, &'static str, &'a Distribution);

fn delays(outcome: &Outcome) -> Vec<Named<'_>> {
    vec![
        ("steady", "s1", &outcome.tally.delay),
        ("while arriving", "s2", &outcome.tally.delay_ramp),
    ]
}

/// As HdrHistogram plots: the further right, the rarer. `None` without samples.
fn percentile_plot(title: &str, shape: Shape, named: &[Named<'_>]) -> Option<Plot> {
    /// Of the x axis for each power of ten.
    const STEPS: usize = 40;
    const POWERS_MAX: f64 = 7.0;
    let reach = |us: &Distribution| (us.len() as f64).log10().clamp(1.0, POWERS_MAX);
    let named: Vec<_> = named.iter().filter(|(.., us)| !us.is_empty()).collect();
    let x_max = (named.iter().map(|(.., us)| reach(us))).reduce(f64::max)?;
    let y_max = named.iter().map(|(.., us)| us.max()).max()? as f64;
    let mut plot = Plot::new(
        title,
        shape,
        ("percentile", x_max, plot::percentiles(x_max)),
        (y_max, Unit::TIME),
    );
    let at = |us: &Distribution, x: f64| match x >= reach(us) {
        true => us.max() as f64,
        false => us.value_at_quantile(1.0 - 10_f64.powf(-x)) as f64,
    };
    let grid = |reach: f64| (0..=(reach * STEPS as f64) as usize).map(|n| n as f64 / STEPS as f64);
    for (name, class, us) in &named {
        let points = grid(reach(us)).chain([reach(us)]).map(|x| (x, at(us, x)));
        plot.line(name, class, &points.collect::<Vec<_>>(), false);
    }
    let width = 4.0 / STEPS as f64;
    for x in grid(x_max).step_by(4) {
        let middle = x + width / 2.0;
        let mut text = words::percentile(1.0 - 10_f64.powf(-middle));
        for (name, _, us) in named.iter().filter(|(.., us)| middle <= reach(us)) {
            text.push_str(&format!("\n{name}: {}", words::time(at(us, middle))));
        }
        plot.hover(x, x + width, text);
    }
    Some(plot)
}

fn plots(outcome: &Outcome) -> Vec<Plot> {
    let tally = &outcome.tally;
    let mut plots = Vec::new();
    let moments = thinned(&outcome.moments);
    if !moments.is_empty() {
        plots.extend(over_time(outcome, &moments));
    }
    plots.extend(percentile_plot(
        "Arriving, by percentile",
        Shape::Half,
        &[
            ("connected", "s1", &tally.connect),
            ("first packet", "s2", &tally.first_packet),
            ("playback", "s3", &tally.start),
        ],
    ));
    plots
}

fn over_time(outcome: &Outcome, moments: &[Moment]) -> Vec<Plot> {
    let rate = outcome.served.bits_per_s.map(|rate| rate as f64);
    let due = |m: &Moment| rate.map(|rate| m.playing as f64 * rate);
    let ms = |pick: fn(&Moment) -> Option<f64>| move |m: &Moment| pick(m).map(|ms| ms * 1e3);
    let mut plots = vec![
        Track::new("Viewers", Unit::COUNT)
            .of("connected", "s1", |m| Some(m.up as f64))
            .of("playing", "s2", |m| Some(m.playing as f64)),
        Track::new("Throughput", Unit::RATE)
            .filled("received", "s1", |m| Some(m.bits_per_s))
            .of("channel's rate × playing", "guide", due),
    ];
    if moments.iter().any(|m| m.delay_p99_ms.is_some()) {
        plots.push(
            Track::new("Delay", Unit::TIME)
                .of("p50", "s1", ms(|m| m.delay_p50_ms))
                .of("p99", "s2", ms(|m| m.delay_p99_ms))
                .of("max", "s3", ms(|m| m.delay_max_ms)),
        );
    }
    plots.push(
        Track::new("Stalls and failures", Unit::COUNT)
            .of("viewers stalled", "s1", |m| Some(m.stalled as f64))
            .of("failed so far", "s2", |m| Some(m.failed as f64))
            .of("bad packets so far", "s3", |m| Some(m.bad_packets as f64)),
    );
    plots.push(
        Track::new("CPU, 100 % is one core", Unit::SHARE)
            .of("server", "s1", |m| m.server_cores)
            .of("this tester", "s2", |m| Some(m.own_cores)),
    );
    let arriving_s = outcome.took.saturating_sub(outcome.steady).as_secs_f64();
    plots
        .into_iter()
        .map(|track| track.plot(moments, arriving_s))
        .collect()
}

type Pick<'a> = Box<dyn Fn(&Moment) -> Option<f64> + 'a>;

/// Some values over time.
struct Track<'a> {
    title: &'static str,
    unit: Unit,
    lines: Vec<(&'static str, &'static str, bool, Pick<'a>)>,
}

impl<'a> Track<'a> {
    fn new(title: &'static str, unit: Unit) -> Self {
        Self {
            title,
            unit,
            lines: Vec::new(),
        }
    }

    fn of(
        mut self,
        name: &'static str,
        class: &'static str,
        pick: impl Fn(&Moment) -> Option<f64> + 'a,
    ) -> Self {
        self.lines.push((name, class, false, Box::new(pick)));
        self
    }

    fn filled(
        self,
        name: &'static str,
        class: &'static str,
        pick: impl Fn(&Moment) -> Option<f64> + 'a,
    ) -> Self {
        let mut track = self.of(name, class, pick);
        if let Some(line) = track.lines.last_mut() {
            line.2 = true;
        }
        track
    }

    /// `arriving_s`: until then viewers arrived.
    fn plot(self, moments: &[Moment], arriving_s: f64) -> Plot {
        let x_max = moments.last().map_or(1.0, |moment| moment.at_s);
        let values = moments
            .iter()
            .flat_map(|m| self.lines.iter().filter_map(|line| line.3(m)));
        let y_max = values.reduce(f64::max).unwrap_or(0.0);
        // Counts and shares of nothing at all still need an axis.
        let y_max = if y_max > 0.0 { y_max } else { 1.0 };
        let mut plot = Plot::new(
            self.title,
            Shape::Half,
            ("time since the first arrival", x_max, plot::seconds(x_max)),
            (y_max, self.unit),
        );
        plot.shade(arriving_s, "arriving");
        for (name, class, filled, pick) in &self.lines {
            let points: Vec<_> = moments
                .iter()
                .filter_map(|m| Some((m.at_s, pick(m)?)))
                .collect();
            if !points.is_empty() {
                plot.line(name, class, &points, *filled);
            }
        }
        let mut from = 0.0;
        for moment in moments {
            let mut text = words::span(moment.at_s);
            for (name, .., pick) in &self.lines {
                if let Some(value) = pick(moment) {
                    text.push_str(&format!("\n{name}: {}", (self.unit.label)(value)));
                }
            }
            plot.hover(from, moment.at_s, text);
            from = moment.at_s;
        }
        plot
    }
}

/// At most some 600 moments: of several that become one the worst delay and most trouble count, and means of the rest.
fn thinned(moments: &[Moment]) -> Vec<Moment> {
    const MOMENTS_MAX: usize = 600;
    let several = moments.len().div_ceil(MOMENTS_MAX).max(1);
    moments.chunks(several).filter_map(merged).collect()
}

fn merged(several: &[Moment]) -> Option<Moment> {
    let last = several.last()?;
    let mean =
        |pick: fn(&Moment) -> f64| several.iter().map(pick).sum::<f64>() / several.len() as f64;
    let worst = |pick: fn(&Moment) -> Option<f64>| several.iter().filter_map(pick).reduce(f64::max);
    Some(Moment {
        bits_per_s: mean(|m| m.bits_per_s),
        own_cores: mean(|m| m.own_cores),
        server_cores: last
            .server_cores
            .map(|_| mean(|m| m.server_cores.unwrap_or(0.0))),
        delay_p50_ms: worst(|m| m.delay_p50_ms),
        delay_p99_ms: worst(|m| m.delay_p99_ms),
        delay_max_ms: worst(|m| m.delay_max_ms),
        stalled: several.iter().map(|m| m.stalled).max()?,
        stalls: several.iter().map(|m| m.stalls).sum(),
        ..*last
    })
}

/// A label and what belongs to it.
type Row = (&'static str, String);

/// Rows of the table of times: name, samples, and from least to greatest.
fn times(outcome: &Outcome) -> Vec<Vec<String>> {
    let tally = &outcome.tally;
    [
        ("Delay", &tally.delay),
        ("Delay while arriving", &tally.delay_ramp),
        ("Connect", &tally.connect),
        ("First packet", &tally.first_packet),
        ("Gap", &tally.gap),
        ("Playback start", &tally.start),
        ("Stall", &tally.stall),
    ]
    .into_iter()
    .map(|(name, us)| {
        let mut row = vec![name.to_owned(), words::count(us.len())];
        let quantiles = [0.0, 0.5, 0.9, 0.99, 0.999, 1.0];
        row.extend(quantiles.map(|quantile| match us.is_empty() {
            true => "–".to_owned(),
            false => words::time(us.value_at_quantile(quantile) as f64),
        }));
        row
    })
    .collect()
}

fn counts(outcome: &Outcome) -> Vec<Row> {
    let counts = &outcome.tally.counts;
    let mut rows: Vec<Row> = [
        ("Viewers planned", counts.planned),
        ("Arrived", counts.arrived),
        ("Connected", counts.connected),
        ("Got media", counts.played),
        ("Succeeded", counts.succeeded),
        ("Misbehaved on purpose", counts.misbehaved),
        ("Failed", counts.failed.total()),
    ]
    .map(|(label, count)| (label, words::count(count)))
    .into();
    for (kind, count) in summary::failed_by_kind(&counts.failed) {
        rows.push(("of these", format!("{} {kind}", words::count(count))));
    }
    rows.extend(
        [
            ("Packets received", counts.packets),
            ("Missing", counts.missing),
            ("Duplicate", counts.duplicate),
            ("Reordered", counts.reordered),
            ("Corrupt", counts.corrupt),
            ("Overdue at the end", counts.overdue),
            ("Backlog (not in delay)", counts.backlog),
        ]
        .map(|(label, count)| (label, words::count(count))),
    );
    rows.push(("Contents", summary::verified(outcome)));
    rows.extend(datagrams(outcome));
    rows.push(("Bytes received", words::bytes(counts.bytes as f64)));
    let stalled = words::time(counts.stalled_ms as f64 * 1e3);
    rows.push(("Stalled time, all viewers", stalled));
    rows
}

fn datagrams(outcome: &Outcome) -> Vec<Row> {
    let datagrams = &outcome.tally.datagrams;
    if datagrams.received == 0 {
        return Vec::new();
    }
    let mut parts = vec![("received", datagrams.received)];
    parts.extend(summary::datagram_counts(datagrams));
    let parts: Vec<_> = (parts.iter())
        .map(|(what, count)| format!("{} {what}", words::count(*count)))
        .collect();
    let mut rows: Vec<Row> = vec![("Datagrams", parts.join(" · "))];
    rows.extend(summary::repair(outcome).map(|repair| ("Repair", repair)));
    rows
}

fn usage(outcome: &Outcome) -> Vec<Row> {
    let usage = &outcome.usage;
    let mut rows: Vec<Row> = Vec::new();
    if let Some(server) = &usage.server {
        let per_s = |number| words::trimmed(number, 1);
        rows.extend([
            (
                "Server CPU",
                format!(
                    "{} of a core, {} in user mode",
                    words::percent(server.cores),
                    words::percent(server.user_cores)
                ),
            ),
            (
                "Server memory",
                format!(
                    "{}, before the first viewer {}",
                    words::bytes(server.resident_bytes as f64),
                    words::bytes(server.resident_before_bytes as f64)
                ),
            ),
            (
                "Context switches per second",
                format!(
                    "{} given up, {} taken away",
                    per_s(server.voluntary_switches_per_s),
                    per_s(server.involuntary_switches_per_s)
                ),
            ),
            ("Listen overflows", words::count(server.listen_overflows)),
        ]);
    }
    rows.push((
        "This tester",
        format!(
            "{} of a core, busiest worker {}, {} resident",
            words::percent(usage.own_cores),
            words::percent(usage.own_busiest_worker),
            words::bytes(usage.own_resident_bytes as f64)
        ),
    ));
    for core in &usage.cores {
        let (busy, steal) = (words::percent(core.busy), words::percent(core.steal));
        let text = format!("{}: {busy} busy, {steal} stolen", core.core);
        rows.push(("Core", text));
    }
    rows
}

fn setup(outcome: &Outcome) -> Vec<Row> {
    let asked = &outcome.asked;
    vec![
        ("Target", asked.url.clone()),
        ("Answered", summary::served(outcome)),
        ("Arrival", asked.arrival.clone()),
        ("Steady time asked for", words::span(asked.duration_s)),
        ("Took in all", words::span(outcome.took.as_secs_f64())),
        ("Began", began(outcome)),
        ("Workers", words::count(asked.workers as u64)),
        ("Source addresses", words::count(asked.sources as u64)),
        ("Playback buffer", words::span(asked.buffer_s)),
        ("Viewers verified", words::percent(asked.verify_share)),
        ("Seed", asked.seed.to_string()),
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
    ]
}

/// One step in the table of a search.
#[derive(Serialize)]
struct SearchRow<'a> {
    viewers: String,
    passed: bool,
    best: bool,
    verdicts: &'a [Verdict],
    delay_p99: String,
    cpu: String,
}

impl<'a> SearchRow<'a> {
    fn of(step: &'a Step, best: Option<&Step>) -> Self {
        let delay = &step.outcome.tally.delay;
        Self {
            viewers: words::count(step.viewers.into()),
            passed: step.passed,
            best: best.is_some_and(|best| std::ptr::eq(best, step)),
            verdicts: &step.verdicts,
            delay_p99: match delay.is_empty() {
                true => "n/a".to_owned(),
                false => words::time(delay.value_at_quantile(0.99) as f64),
            },
            cpu: words::cpu(
                step.outcome
                    .usage
                    .server
                    .and_then(|server| server.cpu_us_per_viewer_s),
            ),
        }
    }
}

fn search_facts(outcome: &Outcome) -> Vec<String> {
    let asked = &outcome.asked;
    let steps = format!("{} each", words::span(asked.duration_s));
    let arrival = asked.arrival.clone();
    vec![arrival, steps, summary::served(outcome), began(outcome)]
}

fn search_plots(steps: &[Step]) -> Vec<Plot> {
    type Read = fn(&Outcome) -> Option<f64>;
    fn p99(us: &Distribution) -> Option<f64> {
        (!us.is_empty()).then(|| us.value_at_quantile(0.99) as f64)
    }
    const CURVES: [(&str, Unit, Read); 4] = [
        ("Delay p99", Unit::TIME, |o| p99(&o.tally.delay)),
        ("First packet p99", Unit::TIME, |o| {
            p99(&o.tally.first_packet)
        }),
        ("Server CPU, 100 % is one core", Unit::SHARE, |o| {
            o.usage.server.as_ref().map(|server| server.cores)
        }),
        ("Throughput", Unit::RATE, require::throughput),
    ];
    let x_max = steps.iter().map(|step| step.viewers).max().unwrap_or(1);
    let x_max = f64::from(x_max) * 1.02;
    let curve = |(title, unit, read): (&str, Unit, Read)| {
        let points: Vec<_> = steps
            .iter()
            .filter_map(|s| Some((f64::from(s.viewers), read(&s.outcome)?, s.passed)))
            .collect();
        let y_max = points.iter().map(|(_, y, _)| *y).reduce(f64::max)?;
        let x = ("viewers", x_max, plot::counts(x_max));
        let mut plot = Plot::new(title, Shape::Half, x, (y_max, unit));
        plot.marked_line(title, "s1", &points);
        for (x, y, passed) in &points {
            let word = if *passed { "passed" } else { "failed" };
            let text = format!("{} viewers: {}, {word}", words::whole(*x), (unit.label)(*y));
            plot.hover(x - x_max / 120.0, x + x_max / 120.0, text);
        }
        Some(plot)
    };
    CURVES.into_iter().filter_map(curve).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::require::Requirements;
    use std::path::Path;

    fn run_page(outcome: &Outcome, requirements: &str) -> String {
        let requirements: Requirements = requirements.parse().expect("requirements");
        page(outcome, &requirements.check(outcome))
    }

    /// Keeps a page for people to look at, if `FUNNEL_LOAD_PAGE_OUT` names a folder.
    fn keep(name: &str, page: &str) {
        if let Some(folder) = std::env::var_os("FUNNEL_LOAD_PAGE_OUT") {
            std::fs::write(Path::new(&folder).join(name), page).expect("the folder takes it");
        }
    }

    /// Reads a page as XML; what it says in its body, all text in one.
    fn checked(page: &str) -> String {
        let options = roxmltree::ParsingOptions {
            allow_dtd: true,
            ..Default::default()
        };
        let document = roxmltree::Document::parse_with_options(page, options)
            .unwrap_or_else(|error| panic!("{error}\n{page}"));
        for node in document.descendants().filter(|node| node.is_element()) {
            let name = node.tag_name().name();
            assert!(!["script", "link", "img", "iframe", "object"].contains(&name));
            for attribute in node.attributes() {
                let name = attribute.name();
                assert!(!["href", "src", "style"].contains(&name) && !name.starts_with("on"));
                assert!(!attribute.value().contains("NaN"), "{name}");
            }
        }
        let body = document
            .descendants()
            .find(|node| node.has_tag_name((XHTML, "body")))
            .expect("a body");
        let texts = body.descendants().filter_map(|node| node.text());
        texts.collect::<Vec<_>>().join(" ")
    }

    const XHTML: &str = "http://www.w3.org/1999/xhtml";
    const SVG: &str = "http://www.w3.org/2000/svg";

    #[test]
    fn a_page_is_whole_in_itself_and_says_what_the_run_found() {
        let page = run_page(&sample::clean(), "delay_p99<600ms,missing=0");
        keep("clean.html", &page);
        let text = checked(&page);
        for said in [
            "Passed",
            "534 ms",
            "delay_p99<600ms",
            "✓ met",
            "25 µs/s",
            "Delay by percentile",
            "99.99 %",
            "funnel-load mms://127.0.0.1/probe --viewers 1000",
        ] {
            assert!(text.contains(said), "{said}");
        }
        assert!(!text.contains("✗"));
        // No references but the names of the two languages.
        let rest = page.replace(XHTML, "").replace(SVG, "");
        assert!(!rest.contains("http://") && !rest.contains("https://"));
        assert!(!rest.contains("url(") && !rest.contains("@import"));
    }

    #[test]
    fn what_a_server_says_stays_text() {
        let page = run_page(&sample::troubled(), "delay_p99<500ms,failed=0,bad<100");
        keep("troubled.html", &page);
        let text = checked(&page);
        assert!(!page.contains("<script") && !page.contains("<b>"));
        assert!(text.contains("<script>alert('x')</script> & \"Sons\""));
        assert!(text.contains("<b>403</b> & forbidden"));
        assert!(text.contains("Failed: 2 of 3 not met"));
        assert!(text.contains("this program was the bottleneck"));
    }

    #[test]
    fn what_was_not_measured_is_said_not_drawn() {
        let mut unmarked = sample::clean();
        unmarked.served.marked = false;
        unmarked.tally.delay.reset();
        unmarked.tally.delay_ramp.reset();
        unmarked.usage.server = None;
        for moment in &mut unmarked.moments {
            moment.delay_p50_ms = None;
            moment.delay_p99_ms = None;
            moment.delay_max_ms = None;
            moment.server_cores = None;
        }
        let page = run_page(&unmarked, "");
        keep("unmarked.html", &page);
        let text = checked(&page);
        assert!(text.contains("n/a: this source carries no marks; use a channel of kind probe"));
        assert!(!text.contains("Delay by percentile"));
        let nobody = run_page(&sample::nobody(), "failed=0");
        keep("nobody.html", &nobody);
        assert!(checked(&nobody).contains("n/a: nobody arrived"));
    }

    #[test]
    fn a_long_run_is_thinned_and_keeps_its_worst_second() {
        let mut outcome = sample::clean();
        let second = outcome.moments[5];
        outcome.moments = (1..=7_200)
            .map(|number| Moment {
                at_s: f64::from(number),
                delay_max_ms: Some(if number == 3_333 { 9_000.0 } else { 100.0 }),
                ..second
            })
            .collect();
        let thin = thinned(&outcome.moments);
        assert_eq!(thin.len(), 600);
        assert_eq!(thin.last().map(|moment| moment.at_s), Some(7_200.0));
        let worst = thin.iter().filter(|m| m.delay_max_ms == Some(9_000.0));
        assert_eq!(worst.count(), 1);
        assert!(run_page(&outcome, "").len() < 1_500_000);
    }

    #[test]
    fn a_search_shows_its_curve_and_the_best_step() {
        let requirements = "delay_p99<600ms,failed=0";
        let page = search(&sample::steps(requirements), requirements);
        keep("search.html", &page);
        let text = checked(&page);
        assert!(text.contains("mms://127.0.0.1/probe holds 8,000 viewers"));
        assert_eq!(page.matches("<path class=\"mark bad\"").count(), 4 * 2);
        assert_eq!(page.matches("<tr class=\"best\">").count(), 1);
        let none = sample::steps("failed>0");
        let none = search(&none[..1], "failed>0");
        assert!(checked(&none).contains("with no number of viewers tried"));
        checked(&search(&[], "failed=0"));
    }
}
