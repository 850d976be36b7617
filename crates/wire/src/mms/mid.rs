//! Message identifiers (section 5). The same low byte means different things by direction: always the full value.

wire_enum! {
    /// `MID`: 0x0003_00xx client → server, 0x0004_00xx server → client.
    pub struct Mid(u32, "0x{:08X}") {
        /// LinkViewerToMacConnect, §5.1.
        CONNECT = 0x0003_0001,
        /// LinkViewerToMacFunnelInfo, §5.3.
        FUNNEL_INFO = 0x0003_0018,
        /// LinkViewerToMacConnectFunnel, §5.5.
        CONNECT_FUNNEL = 0x0003_0002,
        /// LinkViewerToMacOpenFile, §5.8.
        OPEN_FILE = 0x0003_0005,
        /// LinkViewerToMacSecurityResponse, §5.11.
        SECURITY_RESPONSE = 0x0003_001A,
        /// LinkViewerToMacReadBlock, §5.12.
        READ_BLOCK = 0x0003_0015,
        /// LinkViewerToMacCancelReadBlock, §5.14.
        CANCEL_READ_BLOCK = 0x0003_0025,
        /// LinkViewerToMacStreamSwitch, §5.15.
        STREAM_SWITCH = 0x0003_0033,
        /// LinkViewerToMacStartPlaying, §5.17.
        START_PLAYING = 0x0003_0007,
        /// LinkViewerToMacStartStriding, §5.19.
        START_STRIDING = 0x0003_0028,
        /// LinkViewerToMacStopPlaying, §5.20.
        STOP_PLAYING = 0x0003_0009,
        /// LinkViewerToMacPong, §5.23.
        PONG = 0x0003_001B,
        /// LinkViewerToMacLogging, §5.24.
        LOGGING = 0x0003_0032,
        /// LinkViewerToMacCloseFile, §5.25.
        CLOSE_FILE = 0x0003_000D,
        /// LinkMacToViewerReportConnectedEX, §5.2.
        REPORT_CONNECTED = 0x0004_0001,
        /// LinkMacToViewerReportFunnelInfo, §5.4.
        REPORT_FUNNEL_INFO = 0x0004_0015,
        /// LinkMacToViewerReportConnectedFunnel, §5.6.
        REPORT_CONNECTED_FUNNEL = 0x0004_0002,
        /// LinkMacToViewerReportDisconnectedFunnel, §5.7.
        REPORT_DISCONNECTED_FUNNEL = 0x0004_0003,
        /// LinkMacToViewerReportOpenFile, §5.9.
        REPORT_OPEN_FILE = 0x0004_0006,
        /// LinkMacToViewerReportRedirect, §5.10.
        REPORT_REDIRECT = 0x0004_0022,
        /// LinkMacToViewerSecurityChallenge, §5.11.
        SECURITY_CHALLENGE = 0x0004_001A,
        /// LinkMacToViewerReportReadBlock, §5.13.
        REPORT_READ_BLOCK = 0x0004_0011,
        /// LinkMacToViewerReportStreamSwitch, §5.16.
        REPORT_STREAM_SWITCH = 0x0004_0021,
        /// LinkMacToViewerReportStartedPlaying, §5.18.
        REPORT_STARTED_PLAYING = 0x0004_0005,
        /// LinkMacToViewerReportStartStriding, §5.19.
        REPORT_START_STRIDING = 0x0004_000A,
        /// LinkMacToViewerReportEndOfStream, §5.21.
        REPORT_END_OF_STREAM = 0x0004_001E,
        /// LinkMacToViewerReportStreamChange, §5.22.
        REPORT_STREAM_CHANGE = 0x0004_0020,
        /// LinkMacToViewerPing, §5.23.
        PING = 0x0004_001B,
    }
}

wire_enum! {
    /// The dword `playIncarnation` where it speaks of packet-pair probing (section 4.5); elsewhere it is the client's tag.
    pub struct Incarnation(u32, "0x{:08X}") {
        /// No packet pair.
        NO_PACKET_PAIR = 0xF0F0_F0EF,
        /// Use packet pair.
        PACKET_PAIR = 0xF0F0_F0F0,
        /// Packet pair over TCP, high entropy.
        PACKET_PAIR_TCP = 0xF0F0_F0F1,
        /// Packet pair over UDP, high entropy.
        PACKET_PAIR_UDP = 0xF0F0_F901,
        /// What ffmpeg sends in FunnelInfo; means nothing, as seen on the wire.
        FFMPEG = 0x00F0_F0F0,
    }
}

impl Incarnation {
    /// The tag of Data packets: the low 8 bits (section 3).
    pub fn tag(self) -> u8 {
        self.0.to_le_bytes()[0]
    }
}
