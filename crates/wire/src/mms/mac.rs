//! Messages server → client ("Mac to Viewer"). Offsets and meanings: section 5.

use crate::codec::{Reader, Truncated, Writer, utf16_to_nul};
use crate::mms::mid::Incarnation;
use crate::mms::{Body, HResult, MAC_TO_VIEWER_REVISION, VIEWER_TO_MAC_REVISION, directions};

directions! {
    /// Everything a server may send.
    pub enum MacMessage {
        ReportConnected(ReportConnected) = REPORT_CONNECTED,
        ReportFunnelInfo(ReportFunnelInfo) = REPORT_FUNNEL_INFO,
        ReportConnectedFunnel(ReportConnectedFunnel) = REPORT_CONNECTED_FUNNEL,
        ReportDisconnectedFunnel(ReportDisconnectedFunnel) = REPORT_DISCONNECTED_FUNNEL,
        ReportOpenFile(ReportOpenFile) = REPORT_OPEN_FILE,
        ReportRedirect(ReportRedirect) = REPORT_REDIRECT,
        SecurityChallenge(SecurityChallenge) = SECURITY_CHALLENGE,
        ReportReadBlock(ReportReadBlock) = REPORT_READ_BLOCK,
        ReportStreamSwitch(ReportStreamSwitch) = REPORT_STREAM_SWITCH,
        ReportStartedPlaying(ReportStartedPlaying) = REPORT_STARTED_PLAYING,
        ReportStartStriding(ReportStartStriding) = REPORT_START_STRIDING,
        ReportEndOfStream(ReportEndOfStream) = REPORT_END_OF_STREAM,
        ReportStreamChange(ReportStreamChange) = REPORT_STREAM_CHANGE,
        Ping(Ping) = PING,
    }
}

impl MacMessage {
    /// The `hr` of the message, for those that have one at offset 8 (all but SecurityChallenge and Ping).
    pub fn hr(&self) -> Option<HResult> {
        match self {
            Self::ReportConnected(m) => Some(m.hr),
            Self::ReportFunnelInfo(m) => Some(m.hr),
            Self::ReportConnectedFunnel(m) => Some(m.hr),
            Self::ReportDisconnectedFunnel(m) => Some(m.hr),
            Self::ReportOpenFile(m) => Some(m.hr),
            Self::ReportRedirect(m) => Some(m.hr),
            Self::ReportReadBlock(m) => Some(m.hr),
            Self::ReportStreamSwitch(m) => Some(m.hr),
            Self::ReportStartedPlaying(m) => Some(m.hr),
            Self::ReportStartStriding(m) => Some(m.hr),
            Self::ReportEndOfStream(m) => Some(m.hr),
            Self::ReportStreamChange(m) => Some(m.hr),
            Self::SecurityChallenge(_) | Self::Ping(_) | Self::Unknown(_) => None,
        }
    }
}

/// LinkMacToViewerReportConnectedEX, §5.2.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportConnected {
    /// 0 or an error.
    pub hr: HResult,
    /// Packet pair possible or not.
    pub play_incarnation: Incarnation,
    /// 0x0004000B.
    pub mac_to_viewer_revision: u32,
    /// 0x0003001C.
    pub viewer_to_mac_revision: u32,
    /// `blockGroupPlayTime`, 1.0.
    pub block_group_play_time: f64,
    /// 1.
    pub block_group_blocks: u32,
    /// 1.
    pub max_open_files: u32,
    /// `nBlockMaxBytes`, 0x8000.
    pub block_bytes_max: u32,
    /// 10,000,000 bit/s.
    pub max_bit_rate: u32,
    /// Like `9.1.1.3841`; major ≥ 9 unlocks what Windows Media Player 9 can do.
    pub server_version: String,
    /// Makes old players offer an upgrade: empty.
    pub version_info: String,
    /// Where the upgrade is: empty.
    pub version_url: String,
    /// Empty, `NTLM` or `BASIC`.
    pub authentication_package: String,
}

impl Default for ReportConnected {
    fn default() -> Self {
        Self {
            hr: HResult::S_OK,
            play_incarnation: Incarnation::NO_PACKET_PAIR,
            mac_to_viewer_revision: MAC_TO_VIEWER_REVISION,
            viewer_to_mac_revision: VIEWER_TO_MAC_REVISION,
            block_group_play_time: 1.0,
            block_group_blocks: 1,
            max_open_files: 1,
            block_bytes_max: 0x8000,
            max_bit_rate: 10_000_000,
            server_version: String::new(),
            version_info: String::new(),
            version_url: String::new(),
            authentication_package: String::new(),
        }
    }
}

impl Body for ReportConnected {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Truncated> {
        let mut report = Self {
            hr: reader.field("hr")?,
            play_incarnation: reader.field("playIncarnation")?,
            mac_to_viewer_revision: reader.field("MacToViewerProtocolRevision")?,
            viewer_to_mac_revision: reader.field("ViewerToMacProtocolRevision")?,
            block_group_play_time: reader.field("blockGroupPlayTime")?,
            block_group_blocks: reader.field("blockGroupBlocks")?,
            max_open_files: reader.field("nMaxOpenFiles")?,
            block_bytes_max: reader.field("nBlockMaxBytes")?,
            max_bit_rate: reader.field("maxBitRate")?,
            ..Self::default()
        };
        let mut characters = [0u32; 4];
        for (count, field) in characters.iter_mut().zip(TEXT_FIELDS) {
            *count = reader.field(field)?;
        }
        let mut texts = [const { String::new() }; 4];
        for ((text, count), field) in texts.iter_mut().zip(characters).zip(TEXT_FIELDS) {
            let size = usize::try_from(count)
                .unwrap_or(usize::MAX)
                .saturating_mul(2);
            *text = utf16_to_nul(reader.take(field, size)?);
        }
        [
            report.server_version,
            report.version_info,
            report.version_url,
            report.authentication_package,
        ] = texts;
        Ok(report)
    }

    fn encode(&self, out: &mut Writer<'_>) {
        out.field(self.hr);
        out.field(self.play_incarnation);
        out.field(self.mac_to_viewer_revision);
        out.field(self.viewer_to_mac_revision);
        out.field(self.block_group_play_time);
        out.field(self.block_group_blocks);
        out.field(self.max_open_files);
        out.field(self.block_bytes_max);
        out.field(self.max_bit_rate);
        let texts = [
            &self.server_version,
            &self.version_info,
            &self.version_url,
            &self.authentication_package,
        ];
        let present = |text: &str| {
            if text.is_empty() {
                0
            } else {
                text.encode_utf16().count() + 1
            }
        };
        for text in texts {
            out.field(u32::try_from(present(text)).unwrap_or(u32::MAX));
        }
        for text in texts.into_iter().filter(|text| !text.is_empty()) {
            out.utf16(text);
            out.field(0u16);
        }
    }
}

/// Names of the counted strings, in wire order.
const TEXT_FIELDS: [&str; 4] = [
    "ServerVersionInfo",
    "VersionInfo",
    "VersionUrl",
    "AuthenPackage",
];

/// LinkMacToViewerReportFunnelInfo, §5.4.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportFunnelInfo {
    /// 0.
    pub hr: HResult,
    /// Kind of packet pair granted.
    pub play_incarnation: Incarnation,
    /// 8.
    pub transport_mask: u32,
    /// 1.
    pub block_fragments: u32,
    /// 0x10000.
    pub fragment_bytes: u32,
    /// `nCubs`: the random client id, quoted in resend requests.
    pub client_id: u32,
    /// `failedCubs`, 0.
    pub failed_cubs: u32,
    /// `nDisks`, 1.
    pub disks: u32,
    /// 0.
    pub decluster: u32,
    /// `cubddDatagramSize`, 0.
    pub datagram_size: u32,
    /// Random bytes of a packet-pair packet, or (after decoding) padding.
    pub pair_bytes: Vec<u8>,
}

impl ReportFunnelInfo {
    /// Random bytes of the three packet-pair packets over TCP: whole packets of 512, 512 and 1056 bytes (section 4.5).
    pub const PAIR_BYTES: [usize; 3] = [432, 432, 976];
}

impl Default for ReportFunnelInfo {
    fn default() -> Self {
        Self {
            hr: HResult::S_OK,
            play_incarnation: Incarnation::NO_PACKET_PAIR,
            transport_mask: 8,
            block_fragments: 1,
            fragment_bytes: 0x10000,
            client_id: 0,
            failed_cubs: 0,
            disks: 1,
            decluster: 0,
            datagram_size: 0,
            pair_bytes: Vec::new(),
        }
    }
}

impl Body for ReportFunnelInfo {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            hr: reader.field("hr")?,
            play_incarnation: reader.field("playIncarnation")?,
            transport_mask: reader.field("transportMask")?,
            block_fragments: reader.field("nBlockFragments")?,
            fragment_bytes: reader.field("fragmentBytes")?,
            client_id: reader.field("nCubs")?,
            failed_cubs: reader.field("failedCubs")?,
            disks: reader.field("nDisks")?,
            decluster: reader.field("decluster")?,
            datagram_size: reader.field("cubddDatagramSize")?,
            pair_bytes: reader.rest().to_vec(),
        })
    }

    fn encode(&self, out: &mut Writer<'_>) {
        out.field(self.hr);
        out.field(self.play_incarnation);
        out.field(self.transport_mask);
        out.field(self.block_fragments);
        out.field(self.fragment_bytes);
        out.field(self.client_id);
        out.field(self.failed_cubs);
        out.field(self.disks);
        out.field(self.decluster);
        out.field(self.datagram_size);
        out.bytes(&self.pair_bytes);
    }
}

/// LinkMacToViewerReportConnectedFunnel, §5.6.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportConnectedFunnel {
    /// 0.
    pub hr: HResult,
    /// 0.
    pub play_incarnation: Incarnation,
    /// 0.
    pub packet_payload_size: u32,
    /// "Funnel Of The Gods".
    pub funnel_name: String,
}

impl Default for ReportConnectedFunnel {
    fn default() -> Self {
        Self {
            hr: HResult::S_OK,
            play_incarnation: Incarnation(0),
            packet_payload_size: 0,
            funnel_name: "Funnel Of The Gods".into(),
        }
    }
}

impl Body for ReportConnectedFunnel {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            hr: reader.field("hr")?,
            play_incarnation: reader.field("playIncarnation")?,
            packet_payload_size: reader.field("packetPayloadSize")?,
            funnel_name: utf16_to_nul(reader.rest()),
        })
    }

    fn encode(&self, out: &mut Writer<'_>) {
        out.field(self.hr);
        out.field(self.play_incarnation);
        out.field(self.packet_payload_size);
        out.utf16(&self.funnel_name);
        out.field(0u16);
    }
}

message! {
    /// LinkMacToViewerReportDisconnectedFunnel, §5.7: this data path is refused.
    pub struct ReportDisconnectedFunnel {
        /// An error.
        hr: HResult,
        /// 0.
        play_incarnation: Incarnation,
    }
}

/// Bits of `fileAttributes` in ReportOpenFile, §5.9.
pub mod attributes {
    /// Fast forward and rewind are possible.
    pub const CAN_STRIDE: u32 = 0x0080_0000;
    /// Seeking is possible.
    pub const CAN_SEEK: u32 = 0x0100_0000;
    /// A live stream. For live this bit alone: libmms and VLC test for exactly this value.
    pub const BROADCAST: u32 = 0x0200_0000;
    /// Live in the meaning of the specification; never sent (see `BROADCAST`).
    pub const LIVE: u32 = 0x0400_0000;
    /// A playlist.
    pub const PLAYLIST: u32 = 0x4000_0000;
}

message! {
    /// LinkMacToViewerReportOpenFile, §5.9.
    pub struct ReportOpenFile {
        /// 0 or why not.
        hr: HResult,
        /// Echo of OpenFile's.
        play_incarnation: Incarnation,
        /// 1 on success, 0 on failure.
        open_file_id: u32,
        /// 0.
        padding: u32,
        /// 0.
        file_name: u32,
        /// See [`attributes`].
        file_attributes: u32,
        /// 0.0 for live.
        duration_seconds: f64,
        /// Seconds rounded up, 0 for live.
        file_blocks: u32,
        /// 0.
        unused1: [u8; 16],
        /// Size of every ASF packet.
        packet_bytes: u32,
        /// Number of ASF packets, 0 for live.
        packet_count: u64,
        /// Sum of the streams' bit rates, bit/s.
        bit_rate: u32,
        /// Size of the ASF header as sent (section 3.3).
        header_bytes: u32,
        /// 0.
        unused2: Unused36,
    }
}

/// The 36 unused bytes at the end of ReportOpenFile: written as zeros, optional on receipt.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Unused36;

impl crate::codec::Field for Unused36 {
    fn read(_reader: &mut Reader<'_>, _field: &'static str) -> Result<Self, Truncated> {
        Ok(Self)
    }

    fn write(&self, out: &mut Writer<'_>) {
        out.zeros(36);
    }
}

/// LinkMacToViewerReportRedirect, §5.10: the answer to OpenFile is elsewhere.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReportRedirect {
    /// 0.
    pub hr: HResult,
    /// 1 another URL, 2 use this proxy.
    pub redirect_type: u16,
    /// `mms://`, `mmsu://` or `mmst://` URL, no percent-encoding.
    pub location: String,
}

impl Body for ReportRedirect {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Truncated> {
        let hr = reader.field("hr")?;
        let redirect_type = reader.field("RedirectType")?;
        let size: u16 = reader.field("cbLocation")?;
        Ok(Self {
            hr,
            redirect_type,
            location: utf16_to_nul(reader.take("wszLocation", size.into())?),
        })
    }

    fn encode(&self, out: &mut Writer<'_>) {
        let size = (self.location.encode_utf16().count() + 1) * 2;
        out.field(self.hr);
        out.field(self.redirect_type);
        out.field(u16::try_from(size).unwrap_or(u16::MAX));
        out.utf16(&self.location);
        out.field(0u16);
    }
}

/// LinkMacToViewerSecurityChallenge, §5.11. There is no `hr`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SecurityChallenge {
    /// Echo of OpenFile's.
    pub play_incarnation: Incarnation,
    /// Comes back in the response.
    pub cookie: u32,
    /// Basic: UTF-16 `realm="…"`. NTLM: two zero bytes and a token.
    pub token: Vec<u8>,
}

impl Body for SecurityChallenge {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Truncated> {
        let play_incarnation = reader.field("playIncarnation")?;
        let cookie = reader.field("cookie")?;
        let size = reader.field::<u32>("cbToken")? as usize;
        Ok(Self {
            play_incarnation,
            cookie,
            token: reader.take("pToken", size)?.to_vec(),
        })
    }

    fn encode(&self, out: &mut Writer<'_>) {
        out.field(self.play_incarnation);
        out.field(self.cookie);
        out.field(u32::try_from(self.token.len()).unwrap_or(u32::MAX));
        out.bytes(&self.token);
    }
}

message! {
    /// LinkMacToViewerReportReadBlock, §5.13: the header follows in Data packets.
    pub struct ReportReadBlock {
        /// 0 or why not.
        hr: HResult,
        /// Echo of ReadBlock's.
        play_incarnation: Incarnation,
        /// 0.
        play_sequence: u32,
    }
}

message! {
    /// LinkMacToViewerReportStreamSwitch, §5.16: exactly one per StreamSwitch.
    pub struct ReportStreamSwitch {
        /// 0 or why not.
        hr: HResult,
    }
}

message! {
    /// LinkMacToViewerReportStartedPlaying, §5.18: precedes the first Data packet.
    pub struct ReportStartedPlaying {
        /// 0 or why not.
        hr: HResult,
        /// Echo of StartPlaying's.
        play_incarnation: Incarnation,
        /// `tigerFileId`: openFileId or 0.
        open_file_id: u32,
        /// 0, or 0x40000000.
        unused1: u32,
        /// 0.
        unused2: [u8; 12],
    }
}

message! {
    /// LinkMacToViewerReportStartStriding, §5.19.
    pub struct ReportStartStriding {
        /// 0, or 0xC00D0045.
        hr: HResult,
        /// Echo of StartStriding's.
        play_incarnation: Incarnation,
        /// 0.
        spare: u32,
    }
}

message! {
    /// LinkMacToViewerReportEndOfStream, §5.21.
    pub struct ReportEndOfStream {
        /// 0 the end, 1 a StreamChange follows, else an error.
        hr: HResult,
        /// StopPlaying's as received, else the current StartPlaying's.
        play_incarnation: Incarnation,
    }
}

message! {
    /// LinkMacToViewerReportStreamChange, §5.22: a new header follows (§8.4).
    pub struct ReportStreamChange {
        /// 0.
        hr: HResult,
        /// `dwTcpHdrIncarnation`, 0xFF.
        header_incarnation: Incarnation,
        /// `cbPacketSize`.
        packet_bytes: u32,
        /// `cbHeaderSize`.
        header_bytes: u32,
        /// Bit/s.
        bit_rate: u32,
        /// 0.
        stream_id: u32,
    }
}

message! {
    /// LinkMacToViewerPing, §5.23. Both 0: clients look for an `hr` in the first.
    pub struct Ping {
        /// 0.
        param1: u32,
        /// 0.
        param2: u32,
    }
}
