//! Why a command failed, as the operator sees it and as the shell gets it.

use std::process::ExitCode;

use funnel_control::config::ConfigFaults;
use miette::Report;

use crate::console;

/// The end of a command that did not go well.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is wrong, at these places.
    Config(Box<ConfigFaults>),
    /// What was asked for cannot be, in one sentence.
    Usage(String),
    /// Something went wrong while running, in one sentence.
    Fault(String),
}

impl Failure {
    /// A fault in running, of anything that explains itself in a sentence.
    pub fn fault(reason: impl std::fmt::Display) -> Self {
        Self::Fault(reason.to_string())
    }

    /// Prints it to standard error.
    pub fn show(&self) {
        match self {
            Self::Config(faults) => {
                console::complain(&format!("{:?}", Report::new((**faults).clone())))
            }
            Self::Usage(sentence) | Self::Fault(sentence) => {
                console::complain(&format!("error: {sentence}"))
            }
        }
    }

    /// 2 when the operator has to change what was asked, else 1.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Usage(_) => ExitCode::from(2),
            Self::Fault(_) => ExitCode::FAILURE,
        }
    }
}

impl From<ConfigFaults> for Failure {
    fn from(faults: ConfigFaults) -> Self {
        Self::Config(Box::new(faults))
    }
}
