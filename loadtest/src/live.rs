//! What is said while a run goes on: three lines that are redrawn on a terminal, one plain line every five seconds without one.
//!
//! All of it goes to stderr, once a second at most: drawing must not take the workers' time. Nothing a server said is shown here.

use std::io::{self, Write};
use std::time::Duration;

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::outcome::Moment;
use crate::report::words;

/// The view of one run.
pub struct Live {
    course: Course,
    view: View,
}

impl Live {
    /// `plain`: lines even on a terminal.
    pub fn new(plain: bool) -> Self {
        let view = match plain || !Term::stderr().is_term() {
            true => View::Lines(Lines::to(Box::new(io::stderr()))),
            false => View::Screen(Screen::on(ProgressDrawTarget::stderr())),
        };
        Self {
            course: Course::default(),
            view,
        }
    }

    /// A run begins: so many viewers arrive in this time, and are then measured for that.
    pub fn begin(&mut self, viewers: u64, arriving: Duration, steady: Duration) {
        self.course = Course {
            viewers,
            arriving_s: arriving.as_secs_f64(),
            steady_s: steady.as_secs_f64(),
        };
        if let View::Screen(screen) = &self.view {
            screen.begin(&self.course);
        }
    }

    /// A second has passed.
    pub fn moment(&mut self, moment: &Moment) {
        match &mut self.view {
            View::Screen(screen) => screen.moment(&self.course, moment),
            View::Lines(lines) => lines.moment(&self.course, moment),
        }
    }

    /// The run is over: the terminal is as it was.
    pub fn finish(self) {
        if let View::Screen(screen) = self.view {
            screen.finish();
        }
    }
}

enum View {
    Screen(Screen),
    Lines(Lines),
}

/// What the run is to be.
#[derive(Default)]
struct Course {
    viewers: u64,
    arriving_s: f64,
    steady_s: f64,
}

impl Course {
    fn phase(&self, moment: &Moment) -> String {
        let steady_s = moment.at_s - self.arriving_s;
        match steady_s < 0.0 {
            true => format!(
                "arriving {} of {}",
                words::count(moment.up),
                words::count(self.viewers)
            ),
            false => format!(
                "steady {:.0} of {} s",
                steady_s.min(self.steady_s),
                words::trimmed(self.steady_s, 1)
            ),
        }
    }
}

fn traffic(moment: &Moment) -> String {
    format!(
        "{} · {} playing of {} up",
        words::rate(moment.bits_per_s),
        words::count(moment.playing),
        words::count(moment.up)
    )
}

fn quality(moment: &Moment) -> String {
    let delay = match (moment.delay_p50_ms, moment.delay_p99_ms) {
        (Some(p50), Some(p99)) => format!(
            "delay p50 {}, p99 {}",
            words::time(p50 * 1e3),
            words::time(p99 * 1e3)
        ),
        _ => "delay n/a".to_owned(),
    };
    let mut parts = vec![
        delay,
        format!("{} failed", words::count(moment.failed)),
        words::counted(moment.bad_packets, "bad packet", "bad packets"),
        format!("{} stalled", words::count(moment.stalled)),
    ];
    if let Some(cores) = moment.server_cores {
        parts.push(format!("server {}", words::percent(cores)));
    }
    parts.join(" · ")
}

/// Three lines on a terminal.
struct Screen {
    all: MultiProgress,
    bar: ProgressBar,
    traffic: ProgressBar,
    quality: ProgressBar,
}

impl Screen {
    fn on(target: ProgressDrawTarget) -> Self {
        let style = |template| {
            ProgressStyle::with_template(template)
                .expect("a constant, and a test draws it")
                .progress_chars("━╸─")
        };
        let all = MultiProgress::with_draw_target(target);
        let line = |template| all.add(ProgressBar::no_length().with_style(style(template)));
        Self {
            bar: line("{wide_bar:.cyan/dim}  {msg}"),
            traffic: line("{msg}"),
            quality: line("{msg}"),
            all,
        }
    }

    fn begin(&self, course: &Course) {
        self.bar
            .set_length(millis(course.arriving_s + course.steady_s));
        self.bar.set_message("connecting");
    }

    fn moment(&self, course: &Course, moment: &Moment) {
        self.traffic.set_message(traffic(moment));
        self.quality.set_message(quality(moment));
        self.bar.set_message(course.phase(moment));
        self.bar.set_position(millis(moment.at_s));
    }

    fn finish(self) {
        for bar in [&self.bar, &self.traffic, &self.quality] {
            bar.finish_and_clear();
        }
        // An error here is a terminal that went away.
        drop(self.all.clear());
    }
}

fn millis(seconds: f64) -> u64 {
    (seconds * 1e3) as u64
}

/// One line every five seconds.
struct Lines {
    out: Box<dyn Write + Send>,
    next_s: f64,
}

impl Lines {
    const EVERY_S: f64 = 5.0;

    fn to(out: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            next_s: Self::EVERY_S,
        }
    }

    fn moment(&mut self, course: &Course, moment: &Moment) {
        // Seconds end a few ms late or early.
        if moment.at_s + 0.1 < self.next_s {
            return;
        }
        self.next_s += Self::EVERY_S;
        let (phase, traffic, quality) = (course.phase(moment), traffic(moment), quality(moment));
        let line = writeln!(
            self.out,
            "{:>5.0} s  {phase} · {traffic} · {quality}",
            moment.at_s
        );
        // Nobody reads it any more: the run goes on, its result is what counts.
        drop(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("one thread").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn second(number: u64) -> Moment {
        Moment {
            at_s: number as f64 + 0.002,
            up: (number * 1_000).min(8_000),
            playing: (number * 990).min(8_000),
            bits_per_s: 2.4e9,
            delay_p50_ms: Some(70.4),
            delay_p99_ms: Some(133.0),
            delay_max_ms: Some(150.0),
            failed: 2,
            bad_packets: 1,
            stalled: 3,
            stalls: 3,
            server_cores: (number > 10).then_some(0.257),
            own_cores: 0.4,
        }
    }

    fn drive(view: View) {
        let mut live = Live {
            course: Course::default(),
            view,
        };
        live.begin(8_000, Duration::from_secs(9), Duration::from_secs(30));
        for number in 1..=39 {
            live.moment(&second(number));
        }
        live.finish();
    }

    #[test]
    fn without_a_terminal_there_is_a_plain_line_every_five_seconds() {
        let written = Written::default();
        drive(View::Lines(Lines::to(Box::new(written.clone()))));
        let bytes = written.0.lock().expect("one thread").clone();
        let text = String::from_utf8(bytes).expect("text");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 7);
        assert_eq!(
            lines[0],
            "    5 s  arriving 5,000 of 8,000 · 2.4 Gb/s · 4,950 playing of 5,000 up · \
             delay p50 70.4 ms, p99 133 ms · 2 failed · 1 bad packet · 3 stalled"
        );
        assert_eq!(
            lines[6],
            "   35 s  steady 26 of 30 s · 2.4 Gb/s · 8,000 playing of 8,000 up · \
             delay p50 70.4 ms, p99 133 ms · 2 failed · 1 bad packet · 3 stalled · server 25.7 %"
        );
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    }

    #[test]
    fn without_marks_no_delay_is_shown() {
        let moment = Moment {
            delay_p99_ms: None,
            ..second(7)
        };
        assert!(quality(&moment).starts_with("delay n/a · "));
    }

    #[test]
    fn a_terminal_shows_the_bar_and_both_lines_and_is_left_clean() {
        let term = indicatif::InMemoryTerm::new(10, 80);
        let screen = Screen::on(ProgressDrawTarget::term_like(Box::new(term.clone())));
        let course = Course {
            viewers: 8_000,
            arriving_s: 9.0,
            steady_s: 30.0,
        };
        screen.begin(&course);
        screen.moment(&course, &second(24));
        // Drawing is limited to a rate; the last state is drawn for sure when a line is added.
        screen.all.println("drawn").expect("memory");
        let shown = term.contents();
        assert!(shown.contains("━━╸─"), "{shown}");
        assert!(shown.contains("  steady 15 of 30 s"), "{shown}");
        assert!(
            shown.contains("2.4 Gb/s · 8,000 playing of 8,000 up"),
            "{shown}"
        );
        assert!(shown.contains("delay p50 70.4 ms, p99 133 ms"), "{shown}");
        screen.finish();
        assert_eq!(term.contents(), "drawn");
    }
}
