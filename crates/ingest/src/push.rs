//! Encoders that push: connections from the door and the channel's own TCP port.

use std::net::TcpListener;

use tokio::sync::mpsc;

use crate::{
    Visitor,
    feed::Feed,
    intake::{Intake, Patience},
    runtime::{PushOptions, Stop},
};

/// Where a channel's encoders come in.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// From the door.
    pub(crate) encoders: mpsc::Receiver<Visitor>,
    /// Raw ASF.
    pub(crate) listener: Option<TcpListener>,
}

/// Connections that wait for a channel's task.
pub(crate) const VISITORS_MAX: usize = 16;

/// Feeds a channel with what is pushed until ingest stops.
pub(crate) async fn run(
    _options: PushOptions,
    patience: Patience,
    feed: Feed,
    mut entrance: Entrance,
    mut stop: Stop,
) {
    let _intake = Intake::new(feed, patience, "the encoder");
    loop {
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            encoder = entrance.encoders.recv() => drop(encoder),
        }
    }
}
