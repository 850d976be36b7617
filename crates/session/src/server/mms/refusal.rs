//! Why a request is refused and — in this one place — what the player is told.

use funnel_wire::mms::{HResult, Incarnation, MacMessage, Mid, NameError};
use funnel_wire::mms::{
    ReportConnected, ReportDisconnectedFunnel, ReportEndOfStream, ReportFunnelInfo, ReportOpenFile,
    ReportReadBlock, ReportStartStriding, ReportStartedPlaying, ReportStreamSwitch, ViewerMessage,
};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// Not valid in this state.
    OutOfOrder,
    /// Shorter than its fields, or fields that point outside.
    Damaged,
    /// The path is too long.
    Path,
    /// The funnel name cannot be read.
    FunnelName(NameError),
    /// Data over UDP is not offered.
    Udp,
    /// Data over UDP does not arrive, as far as can be seen.
    Mute,
    /// StreamSwitch turns on a stream that is not there.
    UnknownStream,
    /// No fast forward in a live stream.
    Striding,
    /// The channel's header or packet size cannot be sent over MMS.
    Content,
    /// The player was silent for too long.
    Silence,
    /// What the owner of the session said.
    Channel(HResult),
}

/// §9, in one place.
impl From<Refusal> for HResult {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::OutOfOrder => HResult::NS_E_INVALID_REQUEST,
            Refusal::Damaged => HResult::NS_E_BAD_CONTROL_DATA,
            Refusal::Path | Refusal::FunnelName(NameError::Shape | NameError::Port) => {
                HResult::E_INVALIDARG
            }
            Refusal::FunnelName(NameError::Transport) => HResult::NS_E_BAD_REQUEST,
            Refusal::Udp | Refusal::Mute => HResult::NS_E_UDP_DISABLED,
            Refusal::UnknownStream => HResult::NS_E_INVALID_STREAM,
            Refusal::Striding => HResult::NS_E_STRIDE_REFUSED,
            Refusal::Content => HResult::E_UNEXPECTED,
            Refusal::Silence => HResult::NS_E_TIMEOUT,
            Refusal::Channel(hr) => hr,
        }
    }
}

/// The Report that answers a request with an error. `None`: that request has no answer with an `hr`.
pub(super) fn report(
    request: Mid,
    play_incarnation: Incarnation,
    refusal: Refusal,
    server_version: &str,
) -> Option<MacMessage> {
    let hr = HResult::from(refusal);
    Some(match request {
        Mid::CONNECT => {
            let server_version = server_version.to_owned();
            ReportConnected {
                hr,
                server_version,
                ..ReportConnected::default()
            }
            .into()
        }
        Mid::FUNNEL_INFO => ReportFunnelInfo {
            hr,
            ..ReportFunnelInfo::default()
        }
        .into(),
        Mid::CONNECT_FUNNEL => ReportDisconnectedFunnel {
            hr,
            ..ReportDisconnectedFunnel::default()
        }
        .into(),
        Mid::OPEN_FILE | Mid::SECURITY_RESPONSE => ReportOpenFile {
            hr,
            play_incarnation,
            ..ReportOpenFile::default()
        }
        .into(),
        Mid::READ_BLOCK => ReportReadBlock {
            hr,
            play_incarnation,
            ..ReportReadBlock::default()
        }
        .into(),
        Mid::STREAM_SWITCH => ReportStreamSwitch { hr }.into(),
        Mid::START_PLAYING => ReportStartedPlaying {
            hr,
            play_incarnation,
            ..ReportStartedPlaying::default()
        }
        .into(),
        Mid::START_STRIDING => ReportStartStriding {
            hr,
            play_incarnation,
            ..ReportStartStriding::default()
        }
        .into(),
        Mid::STOP_PLAYING => ReportEndOfStream {
            hr,
            play_incarnation,
        }
        .into(),
        _ => return None,
    })
}

/// The tag a request carries, for the echo.
pub(super) fn incarnation(request: &ViewerMessage) -> Incarnation {
    match request {
        ViewerMessage::OpenFile(m) => m.play_incarnation,
        ViewerMessage::SecurityResponse(m) => m.play_incarnation,
        ViewerMessage::ReadBlock(m) => m.play_incarnation,
        ViewerMessage::StartPlaying(m) => m.play_incarnation,
        ViewerMessage::StartStriding(m) => m.play_incarnation,
        ViewerMessage::StopPlaying(m) => m.play_incarnation,
        _ => Incarnation(0),
    }
}
