//! Plots as the template draws them: from numbers to places on a drawing area, axis steps that people can count, and lines.
//!
//! Colours, fonts and strokes are the page's (CSS, for light and dark); nothing here knows them.

use std::fmt::Write;

use serde::Serialize;

use crate::report::words;

/// The drawing, in the units of its `viewBox`. x grows to the right, y downwards.
#[derive(Debug, Serialize)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// What the x axis counts.
    x_name: String,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    lines: Vec<Line>,
    hovers: Vec<Hover>,
    shade: Option<Shade>,
    #[serde(skip)]
    x_max: f64,
    #[serde(skip)]
    y_max: f64,
}

#[derive(Debug, Serialize)]
struct Tick {
    at: f64,
    label: String,
}

impl Tick {
    /// Whether the labels of both can be read, side by side.
    fn leaves_room(&self, next: &Self) -> bool {
        let half = |tick: &Self| tick.label.chars().count() as f64 * CHAR_WIDTH / 2.0;
        self.at + half(self) + CHAR_WIDTH < next.at - half(next)
    }
}

/// Of a letter in a label, about.
const CHAR_WIDTH: f64 = 7.0;

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    /// CSS class: `s1`, `s2`, …; `guide` for what is not measured.
    class: &'static str,
    path: String,
    area: Option<String>,
    dots: Vec<Dot>,
}

#[derive(Debug, Serialize)]
struct Dot {
    x: f64,
    y: f64,
    good: bool,
}

#[derive(Debug, Serialize)]
struct Hover {
    x: f64,
    width: f64,
    middle: f64,
    text: String,
}

#[derive(Debug, Serialize)]
struct Shade {
    width: f64,
    label: Option<String>,
}

/// How the numbers of an axis are told.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    /// Number and unit.
    pub label: fn(f64) -> String,
    /// Ticks are never nearer than this.
    pub step_min: f64,
}

impl Unit {
    /// µs.
    pub const TIME: Self = Self::of(words::time);
    /// Bits per second.
    pub const RATE: Self = Self::of(words::rate);
    /// 1 is 100 %.
    pub const SHARE: Self = Self::of(words::percent);
    /// There are no halves.
    pub const COUNT: Self = Self {
        label: words::whole,
        step_min: 1.0,
    };

    const fn of(label: fn(f64) -> String) -> Self {
        Self {
            label,
            step_min: 0.0,
        }
    }
}

/// Place and label of the ticks of an axis.
pub type Ticks = Vec<(f64, String)>;

impl Plot {
    /// An empty plot of a shape, from 0 to the largest number on each axis, y rounded up to its next tick.
    pub fn new(
        title: &str,
        shape: Shape,
        (x_name, x_max, x_ticks): (&str, f64, Ticks),
        (y_max, y_unit): (f64, Unit),
    ) -> Self {
        let step = step(y_max.max(f64::MIN_POSITIVE)).max(y_unit.step_min);
        // A line that runs along the upper edge is hard to see.
        let steps = (y_max * 1.03 / step).ceil().max(1.0);
        let (width, height) = match shape {
            Shape::Wide => (1160.0, 320.0),
            Shape::Half => (560.0, 260.0),
        };
        let mut plot = Self {
            title: title.to_owned(),
            x_name: x_name.to_owned(),
            width,
            height,
            left: 64.0,
            right: width - 32.0,
            top: 12.0,
            bottom: height - 44.0,
            x_ticks: Vec::new(),
            y_ticks: Vec::new(),
            lines: Vec::new(),
            hovers: Vec::new(),
            shade: None,
            x_max: x_max.max(f64::MIN_POSITIVE),
            y_max: step * steps,
        };
        for (x, label) in x_ticks {
            let tick = Tick {
                at: tenths(plot.x(x)),
                label,
            };
            if plot
                .x_ticks
                .last()
                .is_none_or(|last| last.leaves_room(&tick))
            {
                plot.x_ticks.push(tick);
            }
        }
        plot.y_ticks = (0..=steps as u32)
            .map(|number| step * f64::from(number))
            .map(|y| Tick {
                at: tenths(plot.y(y)),
                label: match y > 0.0 {
                    true => (y_unit.label)(y),
                    false => "0".to_owned(),
                },
            })
            .collect();
        plot
    }

    /// A line through these places; `filled` down to the axis.
    pub fn line(&mut self, name: &str, class: &'static str, points: &[(f64, f64)], filled: bool) {
        let path = self.path(points);
        let area = match (filled, points.first(), points.last()) {
            (true, Some(first), Some(last)) => Some(format!(
                "{path}L{} {bottom}L{} {bottom}Z",
                tenths(self.x(last.0)),
                tenths(self.x(first.0)),
                bottom = self.bottom
            )),
            _ => None,
        };
        self.lines.push(Line {
            name: name.to_owned(),
            class,
            path,
            area,
            dots: Vec::new(),
        });
    }

    /// A line with a mark at each place: good or bad.
    pub fn marked_line(&mut self, name: &str, class: &'static str, points: &[(f64, f64, bool)]) {
        let line: Vec<_> = points.iter().map(|(x, y, _)| (*x, *y)).collect();
        self.line(name, class, &line, false);
        let dots = points.iter().map(|(x, y, good)| Dot {
            x: tenths(self.x(*x)),
            y: tenths(self.y(*y)),
            good: *good,
        });
        let dots = dots.collect();
        if let Some(line) = self.lines.last_mut() {
            line.dots = dots;
        }
    }

    /// What the mouse is told from `from` to `to` on the x axis.
    pub fn hover(&mut self, from: f64, to: f64, text: String) {
        let (left, right) = (self.x(from), self.x(to));
        self.hovers.push(Hover {
            x: tenths(left),
            width: tenths(right - left),
            middle: tenths((left + right) / 2.0),
            text,
        });
    }

    /// Shades the part of the x axis up to `until`, with a label if there is room for it.
    pub fn shade(&mut self, until: f64, label: &str) {
        let width = self.x(until) - self.left;
        let room = label.chars().count() as f64 * CHAR_WIDTH + 12.0;
        self.shade = (width > 0.5).then(|| Shade {
            width: tenths(width),
            label: (width > room).then(|| label.to_owned()),
        });
    }

    fn path(&self, points: &[(f64, f64)]) -> String {
        let mut path = String::new();
        for (position, (x, y)) in points.iter().enumerate() {
            let command = if position == 0 { 'M' } else { 'L' };
            let (x, y) = (tenths(self.x(*x)), tenths(self.y(*y)));
            write!(path, "{command}{x} {y}").expect("a String takes all");
        }
        path
    }

    fn x(&self, value: f64) -> f64 {
        let share = (value / self.x_max).clamp(0.0, 1.0);
        self.left + share * (self.right - self.left)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value / self.y_max).clamp(0.0, 1.0);
        self.bottom - share * (self.bottom - self.top)
    }
}

/// How much room a plot gets.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// The width of the page.
    Wide,
    /// Half of it.
    Half,
}

/// Ticks for seconds.
pub fn seconds(max_s: f64) -> Ticks {
    const STEPS_S: [u32; 14] = [
        1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600,
    ];
    let step = (STEPS_S.into_iter())
        .find(|step| max_s / f64::from(*step) <= 8.0)
        .unwrap_or(86_400);
    let label = |s: u32| match max_s {
        max if max < 120.0 => format!("{s} s"),
        max if max < 7_200.0 => format!("{}:{:02} min", s / 60, s % 60),
        _ => format!("{}:{:02} h", s / 3_600, s % 3_600 / 60),
    };
    (0..)
        .map(|number| number * step)
        .take_while(|s| f64::from(*s) <= max_s)
        .map(|s| (f64::from(s), label(s)))
        .collect()
}

/// Ticks for counts.
pub fn counts(max: f64) -> Ticks {
    let step = step(max.max(1.0)).max(1.0);
    (0..)
        .map(|number| f64::from(number) * step)
        .take_while(|count| *count <= max)
        .map(|count| (count, words::whole(count)))
        .collect()
}

/// Ticks for percentiles: where 1/(1 − percentile) is a power of ten, and the median.
pub fn percentiles(x_max: f64) -> Ticks {
    let places = [0.0, percentile_x(0.5)].into_iter();
    (places.chain((1..=9).map(f64::from)))
        .zip(PERCENTILES)
        .take_while(|(x, _)| *x <= x_max)
        .map(|(x, label)| (x, label.to_owned()))
        .collect()
}

const PERCENTILES: [&str; 11] = [
    "0 %",
    "50 %",
    "90 %",
    "99 %",
    "99.9 %",
    "99.99 %",
    "99.999 %",
    "99.9999 %",
    "99.99999 %",
    "99.999999 %",
    "99.9999999 %",
];

/// Where a quantile below 1 is on the logarithmic axis.
pub fn percentile_x(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

/// 1, 2 or 5 times a power of ten, so that `max` has three to six steps.
fn step(max: f64) -> f64 {
    let power = 10_f64.powf((max / 5.0).log10().floor());
    let factor = match max / 5.0 / power {
        f if f <= 1.0 => 1.0,
        f if f <= 2.0 => 2.0,
        f if f <= 5.0 => 5.0,
        _ => 10.0,
    };
    factor * power
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(y_max: f64) -> Plot {
        let x = ("s", 10.0, seconds(10.0));
        Plot::new("test", Shape::Half, x, (y_max, Unit::TIME))
    }

    #[test]
    fn axes_have_steps_that_can_be_counted() {
        for (max, expected) in [(1.0, 0.2), (534.0, 200.0), (9_999.0, 2_000.0), (3.0, 1.0)] {
            assert!((step(max) - expected).abs() < 1e-9, "{max}");
        }
        let labels: Vec<_> = plot(534_000.0)
            .y_ticks
            .iter()
            .map(|tick| tick.label.clone())
            .collect();
        assert_eq!(labels, ["0", "200 ms", "400 ms", "600 ms"]);
        let labels: Vec<_> = seconds(150.0).into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels[..2], ["0:00 min", "0:30 min"]);
        let labels: Vec<_> = percentiles(3.2).into_iter().map(|(_, l)| l).collect();
        assert_eq!(labels, ["0 %", "50 %", "90 %", "99 %", "99.9 %"]);
    }

    #[test]
    fn there_is_no_half_of_a_viewer_and_no_label_upon_another() {
        let x = ("percentile", 6.0, percentiles(6.0));
        let plot = Plot::new("test", Shape::Half, x, (1.0, Unit::COUNT));
        let labels = |ticks: &[Tick]| ticks.iter().map(|t| t.label.clone()).collect::<Vec<_>>();
        assert_eq!(labels(&plot.y_ticks), ["0", "1", "2"]);
        let percentiles = labels(&plot.x_ticks);
        assert_eq!(percentiles[..3], ["0 %", "90 %", "99 %"]);
    }

    #[test]
    fn everything_stays_on_the_drawing_area() {
        let mut plot = plot(100.0);
        plot.line("beyond", "s1", &[(-5.0, -5.0), (50.0, 5_000.0)], true);
        assert_eq!(plot.lines[0].path, "M64 216L528 12");
        let area = plot.lines[0].area.as_deref();
        assert_eq!(area, Some("M64 216L528 12L528 216L64 216Z"));
    }

    #[test]
    fn a_plot_of_nothing_but_zeros_has_an_axis() {
        let mut plot = plot(0.0);
        plot.line("nothing", "s1", &[(0.0, 0.0), (10.0, 0.0)], false);
        assert_eq!(plot.lines[0].path, "M64 216L528 216");
        assert!(plot.y_ticks.len() >= 2);
    }

    #[test]
    fn a_shade_is_labelled_if_there_is_room() {
        let mut plot = plot(1.0);
        plot.shade(5.0, "arriving");
        assert!(plot.shade.as_ref().is_some_and(|s| s.label.is_some()));
        plot.shade(0.5, "arriving");
        assert!(plot.shade.as_ref().is_some_and(|s| s.label.is_none()));
        plot.shade(0.0, "arriving");
        assert!(plot.shade.is_none());
    }
}
