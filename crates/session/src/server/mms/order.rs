//! The table of states and messages (§7.1): which request is served, refused, ignored.

use funnel_wire::mms::Mid;

/// Where a session stands. AUTH does not exist: authentication is never asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Stage {
    /// Nothing received yet.
    New,
    /// ReportConnectedEX sent.
    Connected,
    /// ReportConnectedFunnel sent.
    Funnel,
    /// Waiting for the owner's answer to `Event::Open`.
    Opening,
    /// The channel was refused; about to close.
    Refused,
    /// ReportOpenFile hr 0 sent.
    Open,
    /// Header sent.
    Ready,
    /// Playing.
    Streaming,
    /// Final EndOfStream sent; about to close.
    Ending,
    /// `Event::Close` was given.
    Closed,
}

impl Stage {
    /// Name for logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Connected => "connected",
            Self::Funnel => "funnel",
            Self::Opening => "opening",
            Self::Refused => "refused",
            Self::Open => "open",
            Self::Ready => "ready",
            Self::Streaming => "streaming",
            Self::Ending => "ending",
            Self::Closed => "closed",
        }
    }
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Do it.
    Serve,
    /// Answer NS_E_INVALID_REQUEST and count it.
    OutOfOrder,
    /// Answer with the reason why the session is going to end; not counted.
    Gone,
    /// Keep it until the channel is open.
    Defer,
    /// No answer.
    Ignore,
}

/// One cell of the table.
pub(super) fn verdict(stage: Stage, request: Mid) -> Verdict {
    use Stage::{Closed, Connected, Ending, Funnel, New, Open, Opening, Ready, Refused, Streaming};
    use Verdict::{Defer, Gone, Ignore, OutOfOrder, Serve};
    match (request, stage) {
        (_, Closed) => Ignore,
        (Mid::LOGGING | Mid::CLOSE_FILE, _) => Serve,
        (Mid::PONG, _) => Ignore,
        (request, _) if !REQUESTS.contains(&request) => Ignore,
        (_, Opening) => Defer,
        (Mid::CONNECT, Ending) => Gone,
        (Mid::CONNECT, _) => Serve,
        (Mid::FUNNEL_INFO, New) => OutOfOrder,
        (Mid::FUNNEL_INFO, _) => Serve,
        (Mid::CANCEL_READ_BLOCK, Open | Ready | Streaming) => Serve,
        (Mid::CANCEL_READ_BLOCK, _) => Ignore,
        (Mid::STOP_PLAYING, Open | Ready | Streaming | Ending) => Serve,
        (_, Refused | Ending) => Gone,
        (Mid::CONNECT_FUNNEL, Connected | Funnel | Open | Ready) => Serve,
        (Mid::OPEN_FILE, Funnel | Open | Ready) => Serve,
        (Mid::READ_BLOCK, Funnel) => Serve, // answered with an error, then closed
        (
            Mid::READ_BLOCK | Mid::STREAM_SWITCH | Mid::START_PLAYING | Mid::START_STRIDING,
            Open | Ready | Streaming,
        ) => Serve,
        _ => OutOfOrder,
    }
}

/// Messages that mean something; any other id is ignored.
const REQUESTS: [Mid; 11] = [
    Mid::CONNECT,
    Mid::FUNNEL_INFO,
    Mid::CONNECT_FUNNEL,
    Mid::OPEN_FILE,
    Mid::SECURITY_RESPONSE,
    Mid::READ_BLOCK,
    Mid::CANCEL_READ_BLOCK,
    Mid::STREAM_SWITCH,
    Mid::START_PLAYING,
    Mid::START_STRIDING,
    Mid::STOP_PLAYING,
];
