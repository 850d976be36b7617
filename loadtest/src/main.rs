//! funnel-load: thousands of simulated players against a streaming server, with honest percentiles.
#![forbid(unsafe_code)]

mod http;
mod news;
mod outcome;
mod tally;

fn main() {}
