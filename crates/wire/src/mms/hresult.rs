//! Result codes that travel in the `hr` fields (section 9; names and meanings from MS-ERREF).

wire_enum! {
    /// An HRESULT. Displays as number and name: `0xC00D001A NS_E_FILE_NOT_FOUND`.
    pub struct HResult(u32, "0x{:08X}") {
        /// Success.
        S_OK = 0x0000_0000,
        /// EndOfStream: this entry is over, a ReportStreamChange follows.
        S_FALSE = 0x0000_0001,
        /// No such stream.
        NS_E_FILE_NOT_FOUND = 0xC00D_001A,
        /// Win32 "path not found", seen from real servers for a missing stream.
        ERROR_PATH_NOT_FOUND = 0x8007_0003,
        /// Win32 "file not found", seen from real servers for a missing stream.
        ERROR_FILE_NOT_FOUND = 0x8007_0002,
        /// Not allowed, or credentials exhausted.
        E_ACCESSDENIED = 0x8007_0005,
        /// Not allowed (alternative of newer servers).
        NS_E_SERVER_ACCESSDENIED = 0xC00D_2EFB,
        /// The server's session limit is reached.
        NS_E_TOO_MANY_SESS = 0xC00D_000F,
        /// The channel's viewer limit is reached.
        NS_E_MAX_CLIENTS = 0xC00D_0049,
        /// The bandwidth limit is reached.
        NS_E_INSUFFICIENT_BANDWIDTH = 0xC00D_002C,
        /// Overload, try later.
        NS_E_NETWORK_BUSY = 0xC00D_000E,
        /// Resource in use.
        NS_E_BUSY = 0xC00D_0025,
        /// Draining: no new connections.
        NS_E_NO_NEW_CONNECTIONS = 0xC00D_151D,
        /// Overload or maintenance.
        NS_E_SERVER_UNAVAILABLE = 0xC00D_2EE6,
        /// Refused by policy.
        NS_E_REFUSED_BY_SERVER = 0xC00D_2EE7,
        /// The channel is configured but has no source.
        NS_E_PUBLISHING_POINT_STOPPED = 0xC00D_145E,
        /// The channel was deleted while in use.
        NS_E_PUBLISHING_POINT_REMOVED = 0xC00D_145A,
        /// The resource is gone.
        NS_E_RESOURCE_GONE = 0xC00D_2EFC,
        /// The server shuts down, or an operator ended the session.
        NS_E_SHUTDOWN = 0xC00D_002A,
        /// The source's connection was lost.
        NS_E_CONNECTION_FAILURE = 0xC00D_0029,
        /// Somebody did not answer in time.
        NS_E_TIMEOUT = 0xC00D_0013,
        /// Nothing to send.
        NS_E_NO_STREAM = 0xC00D_0033,
        /// No more data.
        NS_E_STREAM_END = 0xC00D_0034,
        /// The message is not valid in this state.
        NS_E_INVALID_REQUEST = 0xC00D_002B,
        /// The message is damaged.
        NS_E_BAD_CONTROL_DATA = 0xC00D_0032,
        /// The request cannot be understood.
        NS_E_BAD_REQUEST = 0xC00D_2EE3,
        /// A bad path or parameter.
        E_INVALIDARG = 0x8007_0057,
        /// StreamSwitch names a stream that is not there.
        NS_E_INVALID_STREAM = 0xC00D_003C,
        /// StartStriding refused.
        NS_E_STRIDE_REFUSED = 0xC00D_0045,
        /// UDP is not offered.
        NS_E_UDP_DISABLED = 0xC00D_00D1,
        /// TCP is not offered.
        NS_E_TCP_DISABLED = 0xC00D_00D2,
        /// Connect with unknown protocol revisions.
        NS_E_PROTOCOL_MISMATCH = 0xC00D_0012,
        /// "Use HTTP or RTSP": for players that should roll over.
        NS_E_MMS_NOT_SUPPORTED = 0xC00D_2EFA,
        /// A bug in the server.
        NS_E_INTERNAL = 0xC00D_0024,
        /// A bug in the server (newer code).
        NS_E_INTERNAL_SERVER_ERROR = 0xC00D_2EE2,
        /// "File failed to open".
        E_UNEXPECTED = 0x8000_FFFF,
        /// Redirect to another URL.
        NS_E_REDIRECT = 0xC00D_1388,
        /// Redirect to a proxy.
        NS_E_REDIRECT_TO_PROXY = 0xC00D_2EE1,
    }
}

impl HResult {
    /// An error has the top bit set; `S_OK` and `S_FALSE` are successes.
    pub fn is_error(self) -> bool {
        self.0 & 0x8000_0000 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_number_and_name_and_keeps_the_unknown() {
        assert_eq!(
            HResult::NS_E_FILE_NOT_FOUND.to_string(),
            "0xC00D001A NS_E_FILE_NOT_FOUND"
        );
        assert_eq!(HResult(0x8007_2711).to_string(), "0x80072711");
        assert!(HResult(0x8007_2711).is_error());
        assert!(!HResult::S_FALSE.is_error());
    }

    #[test]
    fn no_code_is_listed_twice() {
        let mut codes = HResult::KNOWN.to_vec();
        codes.sort();
        codes.dedup();
        assert_eq!(codes.len(), HResult::KNOWN.len());
    }
}
