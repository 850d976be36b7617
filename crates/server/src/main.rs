//! funnel: a broadcast server for players that speak Microsoft's MMS.
//!
//! This file reads the command line and turns how a command ended into an exit code: 0 well, 1 a fault while running, 2 wrong
//! usage or configuration. The commands are in files of their names.

mod announce;
mod check;
mod cli;
mod client;
mod console;
mod desk;
mod entry;
mod failure;
mod feed;
mod group;
mod limits;
mod listen;
mod locator;
mod machine;
mod mailbox;
mod multicast;
mod nsc;
mod password;
mod probe;
mod push;
mod record;
mod recording;
mod report;
mod serve;
mod settings;
mod shard;
mod signals;
mod sockets;
mod sources;
mod stand_ins;
mod tls;
mod veil;
mod visitors;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    console::show_faults_whole();
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.show();
            failure.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command.unwrap_or_default() {
        Command::Serve { config } => serve::run(config.as_deref()),
        Command::Check { config } => check::run(config.as_deref()),
        Command::Probe(arguments) => probe::run(&arguments),
        Command::Nsc(arguments) => nsc::run(&arguments),
        Command::Record(arguments) => record::run(&arguments),
        Command::Password(arguments) => password::run(&arguments),
        Command::Push(arguments) => push::run(&arguments),
    }
}
