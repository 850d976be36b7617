//! Runs the real `funnel-load` and reads its report.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// What a run has left.
pub struct Run {
    /// Exit code.
    pub code: i32,
    /// What people see, both streams.
    pub text: String,
    /// The JSON report; null if there is none.
    pub report: Value,
    dir: tempfile::TempDir,
}

/// Runs `funnel-load` with these arguments and `--json`; what it reports is as its schema says.
pub fn funnel_load(arguments: &[&str]) -> Run {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let json = dir.path().join("report.json");
    let output: Output = Command::new(env!("CARGO_BIN_EXE_funnel-load"))
        .current_dir(dir.path())
        .args(arguments)
        .args(["--plain", "--cores", "none", "--json"])
        .arg(&json)
        .output()
        .expect("the binary was built with this test");
    let report = std::fs::read(&json).map_or(Value::Null, |bytes| {
        serde_json::from_slice(&bytes).expect("the report is JSON")
    });
    assert!(report.is_null() || follows_its_schema(&report));
    let text = [output.stdout, output.stderr].concat();
    Run {
        code: output.status.code().expect("not killed by a signal"),
        text: String::from_utf8(text).expect("output is UTF-8"),
        report,
        dir,
    }
}

fn follows_its_schema(report: &Value) -> bool {
    let text = include_str!("../../schema/result.schema.json");
    let schema = serde_json::from_str(text).expect("the schema is JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a valid schema");
    for error in validator.iter_errors(report) {
        eprintln!("{}: {error}", error.instance_path());
    }
    validator.is_valid(report)
}

impl Run {
    /// The same, having checked that all was well.
    pub fn well(self) -> Run {
        assert_eq!(self.code, 0, "{}", self.text);
        assert!(self.report.is_object(), "no report: {}", self.text);
        self
    }

    /// A value of the report by its JSON pointer.
    pub fn at(&self, pointer: &str) -> &Value {
        let found = self.report.pointer(pointer);
        found.unwrap_or_else(|| panic!("no {pointer} in {:#}", self.report))
    }

    /// A count.
    pub fn count(&self, name: &str) -> u64 {
        let value = self.at(&format!("/counts/{name}"));
        value.as_u64().unwrap_or_else(|| panic!("{name}: {value}"))
    }

    /// A number.
    pub fn number(&self, pointer: &str) -> f64 {
        let value = self.at(pointer);
        value
            .as_f64()
            .unwrap_or_else(|| panic!("{pointer}: {value}"))
    }

    /// How many viewers failed in each way; ways that did not happen are left out.
    pub fn failed(&self) -> Vec<(String, u64)> {
        let all = self.at("/counts/failed").as_object().expect("an object");
        all.iter()
            .map(|(how, count)| (how.clone(), count.as_u64().expect("a count")))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// A file it has written.
    pub fn file(&self, name: &str) -> PathBuf {
        Path::join(self.dir.path(), name)
    }
}
