//! An MMS viewer: our own client session, told in [`News`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use funnel_session::client::{CloseReason, Event, Input, Options, Output, Session};
use funnel_session::url::Url;

use crate::news::{Heard, News, Over, Said};
use crate::tally::Datagrams;

/// One viewer's session.
#[derive(Debug)]
pub struct Mms {
    session: Session,
    /// Datagrams of others do not count.
    server: IpAddr,
    /// Number packets by the server's count for this viewer instead of by their place in the channel.
    counts_own: bool,
    wake_at: Option<Instant>,
}

impl Mms {
    /// The connection exists.
    pub fn new(url: Arc<Url>, options: Arc<Options>, server: IpAddr, now: Instant) -> Mms {
        let all = options.streams == funnel_session::Selection::ALL;
        Mms {
            server,
            session: Session::new(url, options, now),
            counts_own: !all,
            wake_at: None,
        }
    }

    /// When [`Heard::Time`] is due.
    pub fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    /// What became of datagrams so far.
    pub fn datagrams(&self) -> Datagrams {
        let stats = self.session.udp_stats();
        Datagrams {
            packets: stats.received,
            duplicate: stats.duplicates,
            reordered: stats.reordered,
            gaps: stats.gaps,
            requested: stats.requested,
            recovered: stats.recovered,
            lost: stats.lost,
            ..Datagrams::default()
        }
    }

    /// Takes what happened, and says what follows from it.
    pub fn hear(
        &mut self,
        now: Instant,
        heard: Heard<'_>,
        said: &mut Said,
        tell: &mut impl FnMut(News<'_>),
    ) {
        let input = match heard {
            Heard::Stream(bytes) => Input::Received(bytes),
            Heard::Datagram(from, bytes) if from.ip() == self.server => Input::Datagram(bytes),
            Heard::Closed => Input::Closed,
            Heard::Time if self.wake_at.is_some_and(|at| at <= now) => Input::Timeout,
            Heard::Datagram(..) | Heard::Time => return,
        };
        self.take(now, Some(input), said, tell);
    }

    /// Takes one input; what is to be sent is appended to `said`. Without input: the first message.
    pub fn take(
        &mut self,
        now: Instant,
        input: Option<Input<'_>>,
        said: &mut Said,
        tell: &mut impl FnMut(News<'_>),
    ) {
        if let Some(input) = input {
            self.session.handle_input(now, input);
        }
        let counts_own = self.counts_own;
        loop {
            match self.session.poll_output() {
                Output::Send(bytes) => said.stream.extend_from_slice(bytes),
                Output::Datagram(bytes) => said.datagrams.push(bytes.to_vec()),
                Output::Idle { wake_at } => {
                    self.wake_at = wake_at;
                    return;
                }
                Output::Event(event) => match event {
                    Event::Packet {
                        location,
                        sequence,
                        bytes,
                    } => tell(News::Packet {
                        number: Some(if counts_own { sequence } else { location }),
                        bytes,
                    }),
                    Event::Connected {
                        server_version,
                        product,
                    } => {
                        tell(News::Server(&product.unwrap_or(server_version)));
                    }
                    Event::Header(header) => tell(News::Header(header)),
                    Event::Started => tell(News::Playing),
                    Event::Refused { stage, hr } => {
                        tell(News::Over(Over::Refused(format!("{stage:?}: {hr}"))));
                    }
                    Event::Redirect(to) => {
                        tell(News::Over(Over::Refused(format!("redirected to {to}"))))
                    }
                    Event::End(hr) if hr.is_error() => {
                        tell(News::Over(Over::Refused(format!("end of stream: {hr}"))));
                    }
                    Event::Close(reason) => tell(News::Over(over(reason))),
                    Event::Opened(_)
                    | Event::StreamChange(_)
                    | Event::Lost { .. }
                    | Event::Stopped
                    | Event::End(_) => {}
                },
            }
        }
    }
}

fn over(reason: CloseReason) -> Over {
    match reason {
        CloseReason::Finished => Over::Ended,
        CloseReason::ConnectionLost => Over::Closed,
        CloseReason::TimedOut => Over::TimedOut,
        CloseReason::NoDatagrams => Over::NoDatagrams,
        CloseReason::Refused(hr) => Over::Refused(hr.to_string()),
        CloseReason::Redirected => Over::Refused("redirected".into()),
        CloseReason::Damaged(field) => Over::Broken(format!("damaged message: {field}")),
        CloseReason::Framing(error) => Over::Broken(error.to_string()),
        other => Over::Broken(format!("{other:?}")),
    }
}
