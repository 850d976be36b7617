//! A program as source: its standard output is read, and it is started again when it ends.

use std::ops::ControlFlow;

use tracing::{info, warn};

use crate::{
    child::Child,
    intake::Intake,
    live::{Kind, Run},
};

/// A command line.
#[derive(Debug)]
pub(crate) struct Command {
    /// Program and arguments.
    pub(crate) run: Vec<String>,
}

/// What the log calls it.
pub(crate) const NAME: &str = "the command";

impl Kind for Command {
    type Run<'a> = Running;

    fn start(&mut self, intake: &Intake) -> Option<Running> {
        let (channel, command) = (intake.name(), self.run.first());
        match Child::spawn(&self.run, channel) {
            Ok(child) => {
                info!(channel, command, "the command is running");
                Some(Running {
                    child,
                    has_closed: false,
                })
            }
            Err(error) => {
                warn!(channel, command, %error, "the command cannot be started");
                None
            }
        }
    }
}

/// A child whose output is read.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    has_closed: bool,
}

impl Run for Running {
    type News = Option<Vec<u8>>;

    async fn news(&mut self) -> Option<Vec<u8>> {
        self.child.chunk().await
    }

    fn take(&mut self, chunk: Option<Vec<u8>>, intake: &mut Intake) -> ControlFlow<()> {
        let Some(bytes) = chunk else {
            self.has_closed = true;
            return ControlFlow::Break(());
        };
        if let Err(fault) = intake.take(&bytes) {
            warn!(channel = intake.name(), %fault, "the command's output cannot be used");
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    async fn stop(self, intake: &Intake) {
        if !self.has_closed {
            self.child.stop().await;
            return;
        }
        let status = self.child.finish().await;
        let status = status.map(|status| status.to_string());
        let (channel, packets) = (intake.name(), intake.packets());
        warn!(channel, status, packets, "the command has ended");
    }
}
