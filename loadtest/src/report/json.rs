//! `--json`: everything about a run as one object, as `schema/result.schema.json` describes it.
//!
//! Within a schema number fields are added, never renamed, removed or counted in another unit.

use serde::Serialize;

use crate::outcome::{Asked, Moment, Outcome, Served, Usage};
use crate::report;
use crate::require::Verdict;
use crate::search::{self, Step};
use crate::tally::{Counts, Datagrams, Distribution, Tally};

/// The format's name and number.
const SCHEMA: &str = "funnel-load/1";

/// One object, indented, with a newline at its end.
pub fn json(outcome: &Outcome, verdicts: &[Verdict]) -> String {
    let result = Result::of(outcome, verdicts);
    let mut text =
        serde_json::to_string_pretty(&result).expect("strings for keys, and nothing that fails");
    text.push('\n');
    text
}

/// A search as one object: its steps, each with its result, as `schema/search.schema.json` describes it.
pub fn search(steps: &[Step], requirements: &str) -> String {
    let search = Search {
        schema: "funnel-load-search/1",
        requirements,
        best_viewers: search::best(steps).map(|step| step.viewers),
        steps: (steps.iter())
            .map(|step| SearchStep {
                viewers: step.viewers,
                passed: step.passed,
                result: Result::of(&step.outcome, &step.verdicts),
            })
            .collect(),
    };
    let mut text =
        serde_json::to_string_pretty(&search).expect("strings for keys, and nothing that fails");
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Search<'a> {
    schema: &'static str,
    requirements: &'a str,
    best_viewers: Option<u32>,
    steps: Vec<SearchStep<'a>>,
}

#[derive(Serialize)]
struct SearchStep<'a> {
    viewers: u32,
    passed: bool,
    result: Result<'a>,
}

#[derive(Serialize)]
struct Result<'a> {
    schema: &'static str,
    version: &'static str,
    asked: &'a Asked,
    served: &'a Served,
    began: String,
    took_s: f64,
    steady_s: f64,
    viewers_mean: f64,
    connect_ms: Option<Times>,
    first_packet_ms: Option<Times>,
    delay_ms: Option<Times>,
    delay_ramp_ms: Option<Times>,
    gap_ms: Option<Times>,
    start_ms: Option<Times>,
    stall_ms: Option<Times>,
    rate_percent: Option<Rates>,
    datagrams: Option<Heard<'a>>,
    counts: &'a Counts,
    usage: &'a Usage,
    moments: &'a [Moment],
    warnings: &'a [String],
    failures: Vec<Failure<'a>>,
    requirements: &'a [Verdict],
    passed: Option<bool>,
}

impl<'a> Result<'a> {
    fn of(outcome: &'a Outcome, verdicts: &'a [Verdict]) -> Self {
        let tally = &outcome.tally;
        let failure = |(text, count): &'a (String, u64)| Failure {
            text,
            count: *count,
        };
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            asked: &outcome.asked,
            served: &outcome.served,
            began: humantime::format_rfc3339_millis(outcome.began).to_string(),
            took_s: outcome.took.as_secs_f64(),
            steady_s: outcome.steady.as_secs_f64(),
            viewers_mean: outcome.viewers_mean,
            connect_ms: Times::of(&tally.connect),
            first_packet_ms: Times::of(&tally.first_packet),
            delay_ms: Times::of(&tally.delay),
            delay_ramp_ms: Times::of(&tally.delay_ramp),
            gap_ms: Times::of(&tally.gap),
            start_ms: Times::of(&tally.start),
            stall_ms: Times::of(&tally.stall),
            rate_percent: Rates::of(&tally.rate_permille),
            datagrams: Heard::of(tally),
            counts: &tally.counts,
            usage: &outcome.usage,
            moments: &outcome.moments,
            warnings: &outcome.warnings,
            failures: outcome.failures.iter().map(failure).collect(),
            requirements: verdicts,
            passed: report::passed(verdicts),
        }
    }
}

/// A distribution in ms.
#[derive(Serialize)]
struct Times {
    count: u64,
    min: f64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Times {
    /// `None` without samples: a number would be a guess.
    fn of(us: &Distribution) -> Option<Self> {
        let ms = |us: u64| us as f64 / 1e3;
        let at = |quantile| ms(us.value_at_quantile(quantile));
        (!us.is_empty()).then(|| Self {
            count: us.len(),
            min: ms(us.min()),
            mean: us.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: ms(us.max()),
        })
    }
}

/// Media received against the channel's rate, %.
#[derive(Serialize)]
struct Rates {
    count: u64,
    min: f64,
    p1: f64,
    p50: f64,
    max: f64,
}

impl Rates {
    fn of(permille: &Distribution) -> Option<Self> {
        let percent = |permille: u64| permille as f64 / 10.0;
        (!permille.is_empty()).then(|| Self {
            count: permille.len(),
            min: percent(permille.min()),
            p1: percent(permille.value_at_quantile(0.01)),
            p50: percent(permille.value_at_quantile(0.5)),
            max: percent(permille.max()),
        })
    }
}

/// Where media comes as datagrams.
#[derive(Serialize)]
struct Heard<'a> {
    #[serde(flatten)]
    counts: &'a Datagrams,
    recovered_share: Option<f64>,
    loss_percent: Option<Losses>,
}

impl<'a> Heard<'a> {
    fn of(tally: &'a Tally) -> Option<Self> {
        (tally.datagrams.received > 0).then(|| Self {
            counts: &tally.datagrams,
            recovered_share: tally.datagrams.recovered_share(),
            loss_percent: Losses::of(&tally.loss_ppm),
        })
    }
}

/// What each viewer lost for good, %.
#[derive(Serialize)]
struct Losses {
    count: u64,
    mean: f64,
    p50: f64,
    p99: f64,
    max: f64,
}

impl Losses {
    fn of(ppm: &Distribution) -> Option<Self> {
        let percent = |ppm: u64| ppm as f64 / 1e4;
        (!ppm.is_empty()).then(|| Self {
            count: ppm.len(),
            mean: ppm.mean() / 1e4,
            p50: percent(ppm.value_at_quantile(0.5)),
            p99: percent(ppm.value_at_quantile(0.99)),
            max: percent(ppm.max()),
        })
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    text: &'a str,
    count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::require::Requirements;
    use serde_json::Value;

    fn schema() -> Value {
        let text = include_str!("../../schema/result.schema.json");
        serde_json::from_str(text).expect("the schema is JSON")
    }

    fn result(outcome: &Outcome, requirements: &str) -> Value {
        let requirements: Requirements = requirements.parse().expect("requirements");
        let text = json(outcome, &requirements.check(outcome));
        serde_json::from_str(&text).expect("JSON")
    }

    #[test]
    fn every_kind_of_run_is_as_the_schema_says() {
        let validator = jsonschema::draft202012::new(&schema()).expect("a valid schema");
        for (outcome, requirements) in [
            (sample::clean(), ""),
            (sample::clean(), "delay_p99<1s,missing=0"),
            (sample::troubled(), "delay_p99<500ms,missing=0,failed=0"),
            (sample::nobody(), "failed=0"),
            (sample::over_udp(), "udp_lost=0"),
        ] {
            let result = result(&outcome, requirements);
            let errors: Vec<_> = validator
                .iter_errors(&result)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{errors:#?}");
        }
    }

    #[test]
    fn the_schema_is_valid_and_refuses_what_it_does_not_describe() {
        jsonschema::draft202012::meta::validate(&schema()).expect("a valid schema");
        let validator = jsonschema::draft202012::new(&schema()).expect("a valid schema");
        let good = result(&sample::clean(), "missing=0");
        for (pointer, wrong) in [
            ("/schema", Value::from("funnel-load/2")),
            ("/delay_ms/p99", Value::Null),
            ("/delay_ms/p99", Value::from(-1)),
            ("/counts/missing", Value::from(0.5)),
            ("/counts/failed", serde_json::json!({"connect": 0})),
            ("/began", Value::from(7)),
            ("/moments/0/at_s", Value::from("1 s")),
            ("/requirements/0/met", Value::Null),
            ("/usage/server/pid", Value::from("self")),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).expect("it is there") = wrong;
            assert!(!validator.is_valid(&bad), "{pointer}");
        }
        let mut undescribed = good;
        undescribed["usage"]["guess"] = Value::from(1);
        assert!(!validator.is_valid(&undescribed));
    }

    #[test]
    fn the_schema_describes_every_property() {
        fn walk(value: &Value, path: &str) {
            let Some(object) = value.as_object() else {
                return;
            };
            if let Some(properties) = object.get("properties").and_then(Value::as_object) {
                for (name, property) in properties {
                    assert!(property["description"].is_string(), "{path}/{name}");
                }
            }
            for (name, inner) in object {
                walk(inner, &format!("{path}/{name}"));
            }
        }
        walk(&schema(), "");
    }

    #[test]
    fn a_search_is_as_its_schema_says() {
        let text = include_str!("../../schema/search.schema.json");
        let of_search: Value = serde_json::from_str(text).expect("the schema is JSON");
        let result = jsonschema::Resource::from_contents(schema());
        let registry = jsonschema::Registry::new()
            .add("urn:funnel-load:result:1", result)
            .and_then(|registry| registry.prepare())
            .expect("one resource");
        let validator = jsonschema::draft202012::options()
            .with_registry(&registry)
            .build(&of_search)
            .expect("a valid schema");
        let text = search(&sample::steps("failed=0"), "failed=0");
        let mut told: Value = serde_json::from_str(&text).expect("JSON");
        validator.validate(&told).expect("as the schema says");
        assert_eq!(told["best_viewers"], 12_000);
        told["steps"][0]["result"]["counts"]["missing"] = Value::from("none");
        assert!(!validator.is_valid(&told));
        let nothing = serde_json::from_str(&search(&[], "failed=0")).expect("JSON");
        assert!(validator.is_valid(&nothing));
    }

    #[test]
    fn what_was_not_measured_is_null_and_times_are_milliseconds() {
        let nobody = result(&sample::nobody(), "");
        for name in [
            "delay_ms",
            "connect_ms",
            "rate_percent",
            "datagrams",
            "passed",
        ] {
            assert!(nobody[name].is_null(), "{name}");
        }
        let clean = result(&sample::clean(), "delay_max<1s");
        assert_eq!(clean["began"], "2026-01-02T03:04:05.678Z");
        assert_eq!(clean["connect_ms"]["count"], 100_000);
        let max = clean["delay_ms"]["max"].as_f64().expect("a number");
        assert!((550.0..551.0).contains(&max), "{max}");
        assert_eq!(clean["rate_percent"]["p50"], 100.0);
        assert_eq!(clean["passed"], true);
        assert_eq!(result(&sample::troubled(), "failed=0")["passed"], false);
    }
}
