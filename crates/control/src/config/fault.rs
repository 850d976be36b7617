//! What is wrong with a configuration file, ready to be shown with the offending text underlined.
//!
//! A [`Fault`] is one place and one sentence; [`ConfigFaults`] is all of them with the text of the file, as a miette diagnostic.
//! Faults are kept in the order of the file, whoever found them and when.

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode};

/// One fault (or warning) at one place of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    key: String,
    message: String,
    help: Option<String>,
    label: Option<String>,
    span: Option<Range<usize>>,
    other: Option<(Range<usize>, String)>,
    severity: Severity,
    absence: bool,
}

impl Fault {
    /// `key` is the full path of the key (may be empty), `span` bytes of the file, `message` what is wrong, without the key.
    pub fn new(
        key: impl Into<String>,
        span: Option<Range<usize>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            key: key.into(),
            message: message.into(),
            help: None,
            label: None,
            span,
            other: None,
            severity: Severity::Error,
            absence: false,
        }
    }

    /// What is allowed, or what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Words next to the underlined text.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// A second place that belongs to the fault.
    pub fn other(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.other = Some((span, label.into()));
        self
    }

    /// Makes it a warning: shown, but the configuration may be used.
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Marks that something is *not there*: not believed in a file whose syntax is broken, since the broken part may hold it.
    pub(super) fn absence(mut self) -> Self {
        self.absence = true;
        self
    }

    /// Full path of the key, e.g. `channels.news.train_ms`; empty for faults of syntax.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Bytes of the file that are underlined; `None` when the file itself could not be read.
    pub fn span(&self) -> Option<Range<usize>> {
        self.span.clone()
    }

    /// Whether it is only a warning.
    pub fn is_warning(&self) -> bool {
        self.severity == Severity::Warning
    }

    pub(super) fn is_absence(&self) -> bool {
        self.absence
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.key, self.message)
    }
}

impl Error for Fault {}

impl Diagnostic for Fault {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span.clone()?;
        let first = LabeledSpan::new_primary_with_span(self.label.clone(), span);
        let second = self
            .other
            .clone()
            .map(|(span, label)| LabeledSpan::new_with_span(Some(label), span));
        Some(Box::new(std::iter::once(first).chain(second)))
    }
}

/// Every fault (or every warning) of one configuration file. Printed through miette it shows file, line and key for each, with
/// the offending text underlined.
#[derive(Clone)]
pub struct ConfigFaults {
    source: NamedSource<Arc<str>>,
    faults: Vec<Fault>,
}

impl ConfigFaults {
    pub(super) fn new(file: &str, text: Arc<str>) -> Self {
        Self {
            source: NamedSource::new(file, text).with_language("TOML"),
            faults: Vec::new(),
        }
    }

    pub(super) fn unreadable(file: &Path, message: String) -> Self {
        let mut faults = Self::new(&file.display().to_string(), Arc::from(""));
        faults.add(
            Fault::new("", None, message)
                .help("`funnel serve` without --config runs the built-in demo channel"),
        );
        faults
    }

    pub(super) fn add(&mut self, fault: Fault) {
        let start = |fault: &Fault| fault.span.as_ref().map(|span| span.start);
        let index = self
            .faults
            .partition_point(|earlier| start(earlier) <= start(&fault));
        self.faults.insert(index, fault);
    }

    /// In the order of the file.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Nothing to show.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// The configuration file, as it was named to `load`.
    pub fn file(&self) -> &str {
        self.source.name()
    }

    fn only_warnings(&self) -> bool {
        self.faults.iter().all(Fault::is_warning)
    }
}

impl fmt::Debug for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigFaults")
            .field("file", &self.file())
            .field("faults", &self.faults)
            .finish()
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.only_warnings() {
            "warning"
        } else {
            "fault"
        };
        let plural = if self.faults.len() == 1 { "" } else { "s" };
        write!(f, "{} {noun}{plural} in {}", self.faults.len(), self.file())
    }
}

impl Error for ConfigFaults {}

impl Diagnostic for ConfigFaults {
    fn severity(&self) -> Option<Severity> {
        Some(if self.only_warnings() {
            Severity::Warning
        } else {
            Severity::Error
        })
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(
            self.faults.iter().map(|fault| fault as &dyn Diagnostic),
        ))
    }
}
