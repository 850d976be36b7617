//! The summary on a terminal: most important first, one topic a line, numbers under numbers.

use console::Style;

use crate::outcome::{Outcome, ServerUsage};
use crate::report::{self, words};
use crate::require::{self, Verdict};
use crate::tally::{Datagrams, Distribution, Failed};

/// The text, a newline at its end; with `colour` in ANSI colours (for a terminal that wants them).
pub fn summary(outcome: &Outcome, verdicts: &[Verdict], colour: bool) -> String {
    let mut page = Page {
        text: String::new(),
        colours: Colours::new(colour),
    };
    page.head(outcome, verdicts);
    page.requirements(verdicts);
    page.viewers(outcome);
    page.times(outcome);
    page.playback(outcome);
    page.packets(outcome);
    page.usage(outcome);
    page.warnings(outcome);
    page.text
}

struct Page {
    text: String,
    colours: Colours,
}

/// Columns of the labels at the left.
const LABEL_WIDTH: usize = 16;

impl Page {
    fn head(&mut self, outcome: &Outcome, verdicts: &[Verdict]) {
        let asked = &outcome.asked;
        let (style, verdict) = match report::passed(verdicts) {
            Some(true) => (&self.colours.good, "PASSED".to_owned()),
            Some(false) => {
                let unmet = verdicts.iter().filter(|verdict| !verdict.met).count();
                let of = verdicts.len();
                (
                    &self.colours.bad,
                    format!("FAILED, {unmet} of {of} requirements not met"),
                )
            }
            None => (
                &self.colours.strong,
                "measured, nothing required".to_owned(),
            ),
        };
        let verdict = style.apply_to(verdict);
        let url = words::plain(&asked.url);
        self.text.push_str(&format!("{url}: {verdict}\n"));
        let mut facts = vec![
            words::counted(asked.viewers, "viewer", "viewers"),
            asked.arrival.clone(),
            format!("{} measured", words::span(outcome.steady.as_secs_f64())),
        ];
        if !asked.misbehaving.is_empty() {
            facts.push(asked.misbehaving.clone());
        }
        self.text.push_str(&format!("{}\n", facts.join(" · ")));
        self.text.push_str(&format!("{}\n", served(outcome)));
    }

    fn requirements(&mut self, verdicts: &[Verdict]) {
        let width = verdicts.iter().map(|v| v.text.chars().count()).max();
        let width = width.unwrap_or(0);
        for (position, verdict) in verdicts.iter().enumerate() {
            self.gap(position);
            let (style, word) = match verdict.met {
                true => (&self.colours.good, "met    "),
                false => (&self.colours.bad, "NOT MET"),
            };
            let word = style.apply_to(word);
            let (text, measured) = (&verdict.text, &verdict.measured);
            self.line(
                first(position, "required"),
                &format!("{word} {text:width$}  {measured}"),
            );
        }
    }

    fn viewers(&mut self, outcome: &Outcome) {
        let counts = &outcome.tally.counts;
        let mut parts = vec![
            format!("{} came", words::count(counts.arrived)),
            format!("{} played", words::count(counts.played)),
            format!("{} succeeded", words::count(counts.succeeded)),
        ];
        if counts.arrived != counts.planned {
            parts[0] = format!(
                "{} of {} came",
                words::count(counts.arrived),
                words::count(counts.planned)
            );
        }
        let failed = format!("{} failed", words::count(counts.failed.total()));
        parts.push(self.alarm(counts.failed.total() > 0, &failed));
        if counts.misbehaved > 0 {
            parts.push(format!(
                "{} misbehaved on purpose",
                words::count(counts.misbehaved)
            ));
        }
        self.gap(0);
        self.line("viewers", &parts.join(" · "));
        let kinds = failed_by_kind(&counts.failed);
        if !kinds.is_empty() {
            let kinds: Vec<_> = kinds
                .iter()
                .map(|(what, number)| format!("{} {what}", words::count(*number)))
                .collect();
            self.line("", &format!("failed: {}", kinds.join(", ")));
        }
        for (text, count) in &outcome.failures {
            let line = format!("  {} × {}", words::count(*count), words::plain(text));
            self.line("", &line);
        }
    }

    fn times(&mut self, outcome: &Outcome) {
        let tally = &outcome.tally;
        let mut heads = String::new();
        for head in ["p50", "p90", "p99", "p99.9", "max"] {
            heads.push_str(&format!("{head:>9}"));
        }
        self.gap(0);
        let heads = self.colours.faint.apply_to(heads).to_string();
        self.line("", &heads);
        self.times_of("delay", &tally.delay, require::no_delay(outcome));
        if !tally.delay_ramp.is_empty() {
            self.times_of("  while arriving", &tally.delay_ramp, "");
        }
        self.times_of("connect", &tally.connect, "nobody connected");
        self.times_of("first packet", &tally.first_packet, "nobody got media");
        self.times_of("gap", &tally.gap, "nobody got media twice");
        self.times_of("playback start", &tally.start, "nobody's playback began");
        if !tally.stall.is_empty() {
            self.times_of("stalls", &tally.stall, "");
        }
    }

    fn times_of(&mut self, label: &str, us: &Distribution, absent: &str) {
        if us.is_empty() {
            return self.line(label, &format!("n/a: {absent}"));
        }
        let quantiles = [0.5, 0.9, 0.99, 0.999].map(|q| us.value_at_quantile(q));
        let mut columns = String::new();
        for value in quantiles.into_iter().chain([us.max()]) {
            columns.push_str(&format!("{:>9}", words::time(value as f64)));
        }
        self.line(label, &columns);
    }

    fn playback(&mut self, outcome: &Outcome) {
        let (tally, counts) = (&outcome.tally, &outcome.tally.counts);
        self.gap(0);
        if !tally.start.is_empty() {
            let line = match counts.stalls {
                0 => "never stalled".to_owned(),
                stalls => format!(
                    "{} of {}, {} in all",
                    words::counted(stalls, "stall", "stalls"),
                    words::counted(counts.stalled_viewers, "viewer", "viewers"),
                    words::time(counts.stalled_ms as f64 * 1e3),
                ),
            };
            let buffer = words::trimmed(outcome.asked.buffer_s, 1);
            let line = self.alarm(counts.stalls > 0, &line);
            self.line("playback", &format!("{line} (buffer {buffer} s)"));
        }
        let throughput = match require::throughput(outcome) {
            Some(bits_per_s) => words::rate(bits_per_s),
            None => "n/a: there was no steady time".to_owned(),
        };
        let rates = &tally.rate_permille;
        let percent = |permille: u64| words::percent(permille as f64 / 1e3);
        let share = match rates.is_empty() {
            true => String::new(),
            false => format!(
                "; of the channel's rate each viewer got {} (p50), {} (p1), {} (least)",
                percent(rates.value_at_quantile(0.5)),
                percent(rates.value_at_quantile(0.01)),
                percent(rates.min()),
            ),
        };
        self.line("throughput", &format!("{throughput}{share}"));
    }

    fn packets(&mut self, outcome: &Outcome) {
        let counts = &outcome.tally.counts;
        if counts.packets == 0 {
            let bytes = words::bytes(counts.bytes as f64);
            return self.line("packets", &format!("n/a: no ASF packets, {bytes} received"));
        }
        let mut parts = vec![format!("{} received", words::count(counts.packets))];
        for (what, number) in [
            ("missing", counts.missing),
            ("duplicate", counts.duplicate),
            ("reordered", counts.reordered),
            ("corrupt", counts.corrupt),
            ("overdue at the end", counts.overdue),
        ] {
            let part = format!("{} {what}", words::count(number));
            parts.push(self.alarm(number > 0, &part));
        }
        self.line("packets", &parts.join(" · "));
        self.line("", &verified(outcome));
        self.datagrams(outcome);
    }

    fn datagrams(&mut self, outcome: &Outcome) {
        let datagrams = &outcome.tally.datagrams;
        if datagrams.received == 0 {
            return;
        }
        let received = format!("{} received", words::count(datagrams.received));
        let mut parts = vec![received];
        for (what, number) in datagram_counts(datagrams) {
            let part = format!("{} {what}", words::count(number));
            parts.push(self.alarm(what == LOST && number > 0, &part));
        }
        self.line("datagrams", &parts.join(" · "));
        if let Some(repair) = repair(outcome) {
            self.line("", &repair);
        }
    }

    fn usage(&mut self, outcome: &Outcome) {
        self.gap(0);
        let usage = &outcome.usage;
        match &usage.server {
            Some(server) => self.server(server),
            None => self.line("server", "n/a: not watched to the end; use --server-pid"),
        }
        self.line(
            "tester",
            &format!(
                "{} of a core, its busiest worker {} · {} resident",
                words::percent(usage.own_cores),
                words::percent(usage.own_busiest_worker),
                words::bytes(usage.own_resident_bytes as f64),
            ),
        );
        for (position, core) in usage.cores.iter().enumerate() {
            let (busy, steal) = (words::percent(core.busy), words::percent(core.steal));
            self.line(
                first(position, "cores"),
                &format!("{}: {busy} busy, {steal} stolen", core.core),
            );
        }
    }

    fn server(&mut self, server: &ServerUsage) {
        let cpu = words::cpu(server.cpu_us_per_viewer_s).replace("/s", "");
        let cpu = self.colours.strong.apply_to(cpu);
        self.line(
            "server",
            &format!(
                "{cpu} of CPU per second and viewer · {} of a core ({} in user mode)",
                words::percent(server.cores),
                words::percent(server.user_cores),
            ),
        );
        self.line(
            "",
            &format!(
                "{} of memory per viewer · {} resident",
                words::bytes(server.resident_bytes_per_viewer),
                words::bytes(server.resident_bytes as f64),
            ),
        );
        self.line(
            "",
            &format!(
                "switches per second: {} given up, {} taken away · {} listen overflows",
                words::trimmed(server.voluntary_switches_per_s, 1),
                words::trimmed(server.involuntary_switches_per_s, 1),
                words::count(server.listen_overflows),
            ),
        );
    }

    fn warnings(&mut self, outcome: &Outcome) {
        for (position, warning) in outcome.warnings.iter().enumerate() {
            self.gap(position);
            let warning = self.colours.warning.apply_to(warning).to_string();
            self.line(first(position, "warning"), &warning);
        }
    }

    /// An empty line before the first of several.
    fn gap(&mut self, position: usize) {
        if position == 0 {
            self.text.push('\n');
        }
    }

    fn line(&mut self, label: &str, text: &str) {
        let label = format!("{label:LABEL_WIDTH$}");
        let label = self.colours.faint.apply_to(label);
        self.text.push_str(&format!("{label} {text}\n"));
    }

    /// In the colour of trouble, if it is trouble.
    fn alarm(&self, trouble: bool, text: &str) -> String {
        match trouble {
            true => self.colours.bad.apply_to(text).to_string(),
            false => text.to_owned(),
        }
    }
}

struct Colours {
    good: Style,
    bad: Style,
    warning: Style,
    strong: Style,
    faint: Style,
}

impl Colours {
    fn new(colour: bool) -> Self {
        // The caller knows where this goes; console would ask its own stdout.
        let style = Style::new().force_styling(colour);
        Self {
            good: style.clone().green().bold(),
            bad: style.clone().red().bold(),
            warning: style.clone().yellow(),
            strong: style.clone().bold(),
            faint: style.dim(),
        }
    }
}

/// What answered: protocol, server, rate, marks.
pub fn served(outcome: &Outcome) -> String {
    let served = &outcome.served;
    if served.protocol.is_empty() {
        return "nobody answered".to_owned();
    }
    let mut facts = vec![served.protocol.clone()];
    facts.extend(served.server.as_deref().map(words::plain));
    facts.push(match served.bits_per_s {
        Some(rate) => words::rate(rate as f64),
        None => "rate unknown".to_owned(),
    });
    let size = |bytes: u32| format!("packets of {} bytes", words::count(bytes.into()));
    facts.extend(served.packet_bytes.map(size));
    facts.push(match served.marked {
        true => "marked".to_owned(),
        false => "not marked".to_owned(),
    });
    facts.join(" · ")
}

/// The share of packets that were looked at byte by byte.
pub fn verified(outcome: &Outcome) -> String {
    let counts = &outcome.tally.counts;
    match (outcome.served.marked, counts.verified) {
        (false, _) => "contents not verified: this source carries no marks".to_owned(),
        (true, 0) => "marks read, no contents verified".to_owned(),
        (true, verified) => format!(
            "contents of {} verified: {} packets of {}",
            words::percent(verified as f64 / counts.packets.max(1) as f64),
            words::count(verified),
            words::counted(counts.verified_viewers, "viewer", "viewers"),
        ),
    }
}

/// What happened to datagrams on their way, in words; what cannot have happened is left out.
pub fn datagram_counts(datagrams: &Datagrams) -> Vec<(&'static str, u64)> {
    let optional = [
        ("dropped on purpose", datagrams.dropped),
        ("gaps", datagrams.gaps),
        ("asked for again", datagrams.requested),
    ];
    let counts = [
        ("duplicate", datagrams.duplicate),
        ("overtaken", datagrams.reordered),
        ("recovered", datagrams.recovered),
        (LOST, datagrams.lost),
    ];
    let occurred = optional.into_iter().filter(|(_, count)| *count > 0);
    occurred.chain(counts).collect()
}

/// How much of what was missed came after all, and what each viewer lost; `None` if nobody missed anything.
pub fn repair(outcome: &Outcome) -> Option<String> {
    let share = outcome.tally.datagrams.recovered_share()?;
    let losses = &outcome.tally.loss_ppm;
    let percent = |ppm: u64| format!("{} %", words::trimmed(ppm as f64 / 1e4, 3));
    Some(format!(
        "{} % of what was missed recovered; lost for good, by viewer: {} (p50), {} (p99), {} (max)",
        words::trimmed(share * 100.0, 2),
        percent(losses.value_at_quantile(0.5)),
        percent(losses.value_at_quantile(0.99)),
        percent(losses.max()),
    ))
}

const LOST: &str = "lost";

/// The kinds that occurred, in words.
pub fn failed_by_kind(failed: &Failed) -> Vec<(&'static str, u64)> {
    let kinds = [
        ("not connected", failed.connect),
        ("refused", failed.refused),
        ("timed out", failed.timed_out),
        ("without media", failed.no_media),
        ("closed early", failed.closed_early),
        ("protocol broken", failed.protocol),
    ];
    kinds.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// The label stands at the first of several lines.
fn first(position: usize, label: &str) -> &str {
    if position == 0 { label } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::require::Requirements;

    fn told(outcome: &Outcome, requirements: &str, colour: bool) -> String {
        let requirements: Requirements = requirements.parse().expect("requirements");
        summary(outcome, &requirements.check(outcome), colour)
    }

    #[test]
    fn a_clean_run_reads_like_this() {
        let text = told(&sample::clean(), "delay_p99<600ms,missing=0", false);
        assert_eq!(text, CLEAN, "\n{text}");
    }

    #[test]
    fn a_run_over_udp_says_what_the_network_did() {
        let text = told(&sample::over_udp(), "", false);
        let line = "datagrams        799,000 received · 8,050 dropped on purpose · 7,900 gaps · 7,990 asked for again · \
                    12 duplicate · 34 overtaken · 7,920 recovered · 80 lost\n";
        assert!(text.contains(line), "\n{text}");
        let line = " 99 % of what was missed recovered; lost for good, by viewer: 0.01 % (p50), 0.01 % (p99), 0.01 % (max)\n";
        assert!(text.contains(line), "\n{text}");
        assert!(!told(&sample::clean(), "", false).contains("datagrams"));
    }

    #[test]
    fn a_troubled_run_reads_like_this() {
        let text = told(
            &sample::troubled(),
            "delay_p99<500ms,cpu_per_viewer<30us",
            false,
        );
        assert_eq!(text, TROUBLED, "\n{text}");
    }

    #[test]
    fn a_run_nobody_came_to_reads_like_this() {
        let text = told(&sample::nobody(), "", false);
        assert_eq!(text, NOBODY, "\n{text}");
    }

    #[test]
    fn an_unmarked_source_has_no_delay_and_says_how_to_get_one() {
        let mut outcome = sample::clean();
        outcome.served.marked = false;
        outcome.tally.delay.reset();
        let text = told(&outcome, "", false);
        let line =
            "delay            n/a: this source carries no marks; use a channel of kind probe\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("contents not verified"), "{text}");
    }

    #[test]
    fn colours_are_all_that_colours_add() {
        let plain = told(&sample::troubled(), "missing=0", false);
        let coloured = told(&sample::troubled(), "missing=0", true);
        assert!(!plain.contains('\u{1b}'));
        assert_ne!(plain, coloured);
        assert_eq!(plain, console::strip_ansi_codes(&coloured));
    }

    #[test]
    fn a_server_cannot_write_on_the_terminal() {
        let mut outcome = sample::troubled();
        outcome.served.server = Some("\u{1b}[2J".to_owned());
        outcome.failures[0].0 = "\u{1b}]0;pwned\u{7}".to_owned();
        assert!(!told(&outcome, "", false).contains(['\u{1b}', '\u{7}']));
    }

    const CLEAN: &str = "\
mms://127.0.0.1/probe: PASSED
1,000 viewers · ramp 1000/s · 30 s measured
MMS over TCP · Cougar/9.01.01.3841 · 300 kb/s · packets of 1,444 bytes · marked

required         met     delay_p99<600ms  534 ms
                 met     missing=0        0

viewers          1,000 came · 1,000 played · 1,000 succeeded · 0 failed

                       p50      p90      p99    p99.9      max
delay              69.6 ms   401 ms   534 ms   549 ms   550 ms
  while arriving   77.1 ms   445 ms   592 ms   608 ms   610 ms
connect             593 µs  3.08 ms  4.08 ms  4.19 ms   4.2 ms
first packet       8.39 ms  44.7 ms  59.2 ms  60.8 ms    61 ms
gap                 196 ms   227 ms   239 ms   240 ms   240 ms
playback start       13 ms  66.2 ms  87.4 ms  89.8 ms    90 ms

playback         never stalled (buffer 3 s)
throughput       300 Mb/s; of the channel's rate each viewer got 100 % (p50), 100 % (p1), 100 % (least)
packets          805,000 received · 0 missing · 0 duplicate · 0 reordered · 0 corrupt · 0 overdue at the end
                 contents of 5 % verified: 40,250 packets of 50 viewers

server           25 µs of CPU per second and viewer · 2.5 % of a core (0.4 % in user mode)
                 3.12 KiB of memory per viewer · 15.1 MiB resident
                 switches per second: 5.1 given up, 0.2 taken away · 0 listen overflows
tester           6.1 % of a core, its busiest worker 5.2 % · 48 MiB resident
cores            0: 4.1 % busy, 0.4 % stolen
                 1: 8.2 % busy, 0.4 % stolen
";
    const TROUBLED: &str = "\
mms://127.0.0.1/probe: FAILED, 1 of 2 requirements not met
1,000 viewers · ramp 1000/s · 30 s measured · 10 % stalled, 1 % garbage
MMS over TCP · <script>alert('x')</script> & \"Sons\" · 300 kb/s · packets of 1,444 bytes · marked

required         NOT MET delay_p99<500ms      534 ms
                 met     cpu_per_viewer<30us  25 µs

viewers          1,000 came · 1,000 played · 874 succeeded · 16 failed · 110 misbehaved on purpose
                 failed: 4 not connected, 2 refused, 3 timed out, 1 without media, 5 closed early, 1 protocol broken
                   5 × connection closed by the server
                   2 × <b>403</b> & forbidden

                       p50      p90      p99    p99.9      max
delay              69.6 ms   401 ms   534 ms   549 ms   550 ms
  while arriving   77.1 ms   445 ms   592 ms   608 ms   610 ms
connect             593 µs  3.08 ms  4.08 ms  4.19 ms   4.2 ms
first packet       8.39 ms  44.7 ms  59.2 ms  60.8 ms    61 ms
gap                 196 ms   227 ms   239 ms   240 ms   240 ms
playback start       13 ms  66.2 ms  87.4 ms  89.8 ms    90 ms
stalls              700 ms   700 ms   700 ms   700 ms   700 ms

playback         12 stalls of 9 viewers, 8.4 s in all (buffer 3 s)
throughput       295 Mb/s; of the channel's rate each viewer got 100 % (p50), 100 % (p1), 100 % (least)
packets          805,000 received · 7 missing · 2 duplicate · 1 reordered · 3 corrupt · 5 overdue at the end
                 contents of 5 % verified: 40,250 packets of 50 viewers

server           25 µs of CPU per second and viewer · 2.5 % of a core (0.4 % in user mode)
                 3.12 KiB of memory per viewer · 15.1 MiB resident
                 switches per second: 5.1 given up, 0.2 taken away · 0 listen overflows
tester           6.1 % of a core, its busiest worker 5.2 % · 48 MiB resident
cores            0: 4.1 % busy, 0.4 % stolen
                 1: 8.2 % busy, 0.4 % stolen

warning          The busiest worker used 97 % of a core: this program was the bottleneck, use --workers.
";
    const NOBODY: &str = "\
mms://127.0.0.1/probe: measured, nothing required
1,000 viewers · ramp 1000/s · 0 s measured
nobody answered

viewers          0 of 1,000 came · 0 played · 0 succeeded · 0 failed

                       p50      p90      p99    p99.9      max
delay            n/a: no ASF packets were received
connect          n/a: nobody connected
first packet     n/a: nobody got media
gap              n/a: nobody got media twice
playback start   n/a: nobody's playback began

throughput       n/a: there was no steady time
packets          n/a: no ASF packets, 0 B received

server           n/a: not watched to the end; use --server-pid
tester           0 % of a core, its busiest worker 0 % · 0 B resident
";
}
