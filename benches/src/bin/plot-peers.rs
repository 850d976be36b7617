//! Draws what `benches/peers` has measured: share of a core against viewers, a line for each server.
//!
//! Medians of the rounds. A point with a hollow ring is a run in which the server did not hold: viewers failed or did not get
//! the whole stream.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use funnel_benches::clock::median;
use plotters::prelude::*;

/// Draws the results of `benches/peers`: CPU of the server against viewers.
#[derive(Parser)]
#[command(name = "plot-peers", version)]
struct Cli {
    /// results.jsonl of a comparison
    results: PathBuf,
    /// The picture (SVG)
    picture: PathBuf,
}

/// A line of the file; fields not drawn are passed over.
#[derive(serde::Deserialize)]
struct Run {
    server: String,
    viewers: u32,
    /// The peer this one was as often as; empty: the server's own pace.
    like: String,
    /// Share of a core the process used; missing where nothing was measured.
    cores: Option<f64>,
    #[serde(default)]
    holds: bool,
}

/// One server's line: for each number of viewers the median share of a core, and whether it held in most rounds.
type Line = Vec<(u32, f64, bool)>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let drawn = read(&cli.results).and_then(|lines| draw(&lines, &cli.picture));
    match drawn {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plot-peers: {}: {error}", cli.results.display());
            ExitCode::from(2)
        }
    }
}

fn read(results: &PathBuf) -> Result<BTreeMap<String, Line>, Box<dyn Error>> {
    let mut runs: BTreeMap<(String, u32), Vec<(f64, bool)>> = BTreeMap::new();
    for line in std::fs::read_to_string(results)?.lines() {
        let run: Run = serde_json::from_str(line)?;
        let Some(cores) = run.cores else { continue };
        let name = match run.like.as_str() {
            "" => run.server,
            like => format!("{}, as often as {like}", run.server),
        };
        runs.entry((name, run.viewers))
            .or_default()
            .push((cores, run.holds));
    }
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    for ((name, viewers), points) in runs {
        let cores: Vec<f64> = points.iter().map(|(cores, _)| *cores).collect();
        let held = points.iter().filter(|(_, held)| *held).count();
        let holds = 2 * held > points.len();
        lines
            .entry(name)
            .or_default()
            .push((viewers, median(&cores), holds));
    }
    if lines.is_empty() {
        return Err("there is no measured CPU in it".into());
    }
    Ok(lines)
}

fn draw(lines: &BTreeMap<String, Line>, picture: &PathBuf) -> Result<(), Box<dyn Error>> {
    let points = || lines.values().flatten();
    let viewers_max = points().map(|point| point.0).max().unwrap_or(1);
    let percent_max = points().map(|point| point.1 * 100.0).fold(10.0, f64::max);
    let area = SVGBackend::new(picture, (860, 520)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("CPU of the server, 300 kb/s a viewer", ("sans-serif", 20))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(0..viewers_max + viewers_max / 20, 0.0..percent_max * 1.08)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("viewers")
        .y_desc("% of one core, process")
        .label_style(("sans-serif", 14))
        .draw()?;
    for (index, (name, line)) in lines.iter().enumerate() {
        let color = Palette99::pick(index).mix(1.0);
        let line_points = line
            .iter()
            .map(|&(viewers, cores, _)| (viewers, cores * 100.0));
        chart
            .draw_series(LineSeries::new(line_points, color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3)));
        chart.draw_series(line.iter().map(|&(viewers, cores, holds)| {
            let style = if holds {
                color.filled()
            } else {
                color.stroke_width(2)
            };
            Circle::new((viewers, cores * 100.0), 5, style)
        }))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 14))
        .draw()?;
    area.present()?;
    Ok(())
}
