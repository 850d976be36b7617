//! MMS over TCP and UDP (MS-MMSP): framing, messages of both directions, client logs, result codes, names.
//!
//! Decode a stream with [`Framer`], each message with [`ViewerMessage::decode`] (client → server) or
//! [`MacMessage::decode`] (server → client); encode either with its `encode`, which writes a whole TCP packet. Decoders
//! demand a minimum and tolerate any padding (section 2.4).

mod datagram;
mod framer;
mod header;
mod hresult;
mod log;
mod mac;
mod mid;
mod names;
mod viewer;

use crate::codec::{Reader, Truncated, Writer};

pub use datagram::{PAIR_PAYLOAD_BYTES, ResendError, ResendRequest, pair_header};
pub use framer::{Frame, FrameError, Framer, MessageFrame, Traffic, split};
pub use header::{
    ASF_PACKET_BYTES_MAX, DATA_HEADER_BYTES, DataHeader, MESSAGE_HEADER_BYTES, MESSAGE_LENGTH_MAX,
    MESSAGE_LENGTH_MIN, SEAL, SESSION_ID, TcpMessageHeader,
};
pub use hresult::HResult;
pub use log::{CLIENT_LOG_BYTES, ClientLog};
pub use mac::{
    MacMessage, Ping, ReportConnected, ReportConnectedFunnel, ReportDisconnectedFunnel,
    ReportEndOfStream, ReportFunnelInfo, ReportOpenFile, ReportReadBlock, ReportRedirect,
    ReportStartStriding, ReportStartedPlaying, ReportStreamChange, ReportStreamSwitch,
    SecurityChallenge, attributes,
};
pub use mid::{Incarnation, Mid};
pub use names::{FunnelName, NameError, PATH_CHARACTERS_MAX, Path, SubscriberName, Transport};
pub use viewer::{
    Acceleration, CancelReadBlock, CloseFile, Connect, ConnectFunnel, FunnelInfo, Logging,
    OpenFile, Pong, ReadBlock, SecurityResponse, StartPlaying, StartStriding, StopPlaying,
    StreamEntry, StreamSwitch, ViewerMessage,
};

/// Default port of the control channel, and of resend requests.
pub const PORT: u16 = 1755;
/// `MacToViewerProtocolRevision`, §5.1.
pub const MAC_TO_VIEWER_REVISION: u32 = 0x0004_000B;
/// `ViewerToMacProtocolRevision`, §5.1.
pub const VIEWER_TO_MAC_REVISION: u32 = 0x0003_001C;

/// The part of a message behind `chunkLen` and `MID`.
pub trait Body: Sized {
    /// Reads the fields; what follows them is padding.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Truncated>;
    /// Writes the fields without padding.
    fn encode(&self, out: &mut Writer<'_>);
}

/// A message shorter than its fields, or with fields that point outside of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{mid}: {truncated}")]
pub struct DecodeError {
    /// Which message.
    pub mid: Mid,
    /// Which field.
    pub truncated: Truncated,
}

/// Writes one TCP packet with one message: header, `chunkLen`, `MID`, body, padding to 8.
fn encode_packet(
    mid: Mid,
    sequence: u16,
    out: &mut Writer<'_>,
    body: impl FnOnce(&mut Writer<'_>),
) {
    use zerocopy::IntoBytes;
    let start = out.written();
    out.zeros(MESSAGE_HEADER_BYTES + 4);
    out.field(mid);
    body(out);
    let size = out.written() - start;
    out.zeros(size.next_multiple_of(8) - size);
    let message_bytes =
        u32::try_from(out.written() - start - MESSAGE_HEADER_BYTES).unwrap_or(u32::MAX);
    out.patch(
        start,
        TcpMessageHeader::new(message_bytes, sequence).as_bytes(),
    );
    out.patch(
        start + MESSAGE_HEADER_BYTES,
        &(message_bytes / 8).to_le_bytes(),
    );
}

/// Declares the enum over all messages of one direction.
macro_rules! directions {
    ($(#[$meta:meta])* pub enum $name:ident { $($variant:ident($body:ident) = $mid:ident,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name {
            $(#[doc = concat!("See [`", stringify!($body), "`].")] $variant($body),)*
            /// An id this direction does not know: ignored (section 5).
            Unknown(crate::mms::Mid),
        }

        impl $name {
            /// The id on the wire.
            pub fn mid(&self) -> crate::mms::Mid {
                match self {
                    $(Self::$variant(_) => crate::mms::Mid::$mid,)*
                    Self::Unknown(mid) => *mid,
                }
            }

            /// Reads a message from the body `MessageFrame::messages` handed out.
            pub fn decode(mid: crate::mms::Mid, mut reader: crate::codec::Reader<'_>) -> Result<Self, crate::mms::DecodeError> {
                let decoded = match mid {
                    $(crate::mms::Mid::$mid => <$body as crate::mms::Body>::decode(&mut reader).map(Self::$variant),)*
                    unknown => Ok(Self::Unknown(unknown)),
                };
                decoded.map_err(|truncated| crate::mms::DecodeError { mid, truncated })
            }

            /// Appends the whole TCP packet, `sequence` being the sender's packet counter.
            pub fn encode(&self, sequence: u16, out: &mut crate::codec::Writer<'_>) {
                crate::mms::encode_packet(self.mid(), sequence, out, |out| match self {
                    $(Self::$variant(body) => crate::mms::Body::encode(body, out),)*
                    Self::Unknown(_) => {}
                });
            }
        }

        $(impl From<$body> for $name {
            fn from(body: $body) -> Self {
                Self::$variant(body)
            }
        })*
    };
}
use directions;
