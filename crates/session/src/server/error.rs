//! What ends a session at once, and whose fault it is.

use funnel_wire::mms::{FrameError, HResult};

/// Who broke it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The other side broke the protocol.
    Peer,
    /// A limit or defect of ours.
    Local,
}

/// The connection must be closed now; nothing more can be said on it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The byte stream is out of step.
    #[error("{state}: {frame}")]
    Frame {
        /// State of the session.
        state: &'static str,
        /// What is wrong with it.
        #[source]
        frame: FrameError,
    },
    /// More requests at once than any player sends.
    #[error("{state}: {requests} requests without waiting for an answer")]
    Flood {
        /// State of the session.
        state: &'static str,
        /// How many are unanswered.
        requests: usize,
    },
}

impl SessionError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Frame { .. } | Self::Flood { .. } => Fault::Peer,
        }
    }
}

/// For the access log: the connection closes without a word (§7.1).
impl From<&SessionError> for HResult {
    fn from(error: &SessionError) -> Self {
        match error {
            SessionError::Frame { .. } => HResult::NS_E_BAD_CONTROL_DATA,
            SessionError::Flood { .. } => HResult::NS_E_BAD_REQUEST,
        }
    }
}
