//! `--hgrm`: a distribution as HdrHistogram's programs write and plot it: value in ms, percentile, samples up to it, and
//! 1/(1 − percentile), which is the logarithmic axis of the well-known plot.
//!
//! It is the delay; without marks the time to the first packet. A comment at the end says which.

use std::fmt::Write;

use crate::outcome::Outcome;
use crate::tally::Distribution;

/// The text of the file.
pub fn hgrm(outcome: &Outcome) -> String {
    let tally = &outcome.tally;
    match tally.delay.is_empty() {
        false => percentiles(&tally.delay, "delay, ms"),
        true => percentiles(
            &tally.first_packet,
            "time to the first packet, ms (no delay was measured)",
        ),
    }
}

/// Steps for each halving of the distance to 100 %, as HdrHistogram's own programs have them.
const STEPS_PER_HALVING: u32 = 5;

fn percentiles(us: &Distribution, what: &str) -> String {
    let mut out = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut total = 0;
    for step in us.iter_quantiles(STEPS_PER_HALVING) {
        total += step.count_since_last_iteration();
        let quantile = step.quantile_iterated_to();
        let ms = step.value_iterated_to() as f64 / 1e3;
        write!(out, "{ms:12.3} {quantile:14.12} {total:10}").expect("a String takes all");
        match quantile < 1.0 {
            true => writeln!(out, " {:14.2}", 1.0 / (1.0 - quantile)),
            false => writeln!(out),
        }
        .expect("a String takes all");
    }
    let (mean, deviation) = (us.mean() / 1e3, us.stdev() / 1e3);
    let (max, samples) = (us.max() as f64 / 1e3, us.len());
    writeln!(
        out,
        "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]\n\
         #[Max     = {max:12.3}, Total count    = {samples:12}]\n\
         #[Values  = {what}]"
    )
    .expect("a String takes all");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::tally;

    #[test]
    fn the_text_is_what_plotting_programs_read() {
        let mut us = tally::distribution();
        us.record_n(1_000, 2).expect("in bounds");
        us.record(2_000).expect("in bounds");
        let expected = "       Value     Percentile TotalCount 1/(1-Percentile)

       1.000 0.000000000000          2           1.00
       1.000 0.100000000000          2           1.11
       1.000 0.200000000000          2           1.25
       1.000 0.300000000000          2           1.43
       1.000 0.400000000000          2           1.67
       1.000 0.500000000000          2           2.00
       1.000 0.550000000000          2           2.22
       1.000 0.600000000000          2           2.50
       1.000 0.650000000000          2           2.86
       2.000 0.700000000000          3           3.33
       2.000 1.000000000000          3
#[Mean    =        1.333, StdDeviation   =        0.471]
#[Max     =        2.000, Total count    =            3]
#[Values  = test]
";
        assert_eq!(percentiles(&us, "test"), expected);
    }

    #[test]
    fn percentiles_and_counts_never_fall_and_end_with_all() {
        let outcome = sample::clean();
        let text = hgrm(&outcome);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| {
                line.split_whitespace()
                    .map(|n| n.parse().expect("a number"))
                    .collect()
            })
            .collect();
        assert!(rows.len() > 20);
        for pair in rows.windows(2) {
            assert!((0..3).all(|column| pair[0][column] <= pair[1][column]));
        }
        let last = rows.last().expect("rows");
        assert_eq!(last[1..], [1.0, outcome.tally.delay.len() as f64]);
    }

    #[test]
    fn without_marks_it_is_the_first_packet_and_says_so() {
        let mut outcome = sample::clean();
        assert!(hgrm(&outcome).contains("#[Values  = delay, ms]"));
        outcome.tally.delay.reset();
        assert!(hgrm(&outcome).contains("#[Values  = time to the first packet"));
        hgrm(&sample::nobody());
    }
}
