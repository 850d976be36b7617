//! Messages client → server ("Viewer to Mac"). Offsets and meanings: section 5.

use crate::codec::{Reader, Truncated, Writer, utf16_to_nul, utf16_with_nuls};
use crate::mms::log::ClientLog;
use crate::mms::mid::Incarnation;
use crate::mms::{Body, directions};

directions! {
    /// Everything a client may send.
    pub enum ViewerMessage {
        Connect(Connect) = CONNECT,
        FunnelInfo(FunnelInfo) = FUNNEL_INFO,
        ConnectFunnel(ConnectFunnel) = CONNECT_FUNNEL,
        OpenFile(OpenFile) = OPEN_FILE,
        SecurityResponse(SecurityResponse) = SECURITY_RESPONSE,
        ReadBlock(ReadBlock) = READ_BLOCK,
        CancelReadBlock(CancelReadBlock) = CANCEL_READ_BLOCK,
        StreamSwitch(StreamSwitch) = STREAM_SWITCH,
        StartPlaying(StartPlaying) = START_PLAYING,
        StartStriding(StartStriding) = START_STRIDING,
        StopPlaying(StopPlaying) = STOP_PLAYING,
        Pong(Pong) = PONG,
        Logging(Logging) = LOGGING,
        CloseFile(CloseFile) = CLOSE_FILE,
    }
}

/// LinkViewerToMacConnect, §5.1: who is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connect {
    /// Wish for packet pair; garbage from old servers, 0 from open-source clients.
    pub play_incarnation: Incarnation,
    /// 0x0004000B.
    pub mac_to_viewer_revision: u32,
    /// 0x0003001C.
    pub viewer_to_mac_revision: u32,
    /// Raw text, parts separated by U+0000; see `SubscriberName`.
    pub subscriber_name: String,
}

impl Body for Connect {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            play_incarnation: reader.field("playIncarnation")?,
            mac_to_viewer_revision: reader.field("MacToViewerProtocolRevision")?,
            viewer_to_mac_revision: reader.field("ViewerToMacProtocolRevision")?,
            subscriber_name: utf16_with_nuls(reader.rest()),
        })
    }

    fn encode(&self, out: &mut Writer<'_>) {
        out.field(self.play_incarnation);
        out.field(self.mac_to_viewer_revision);
        out.field(self.viewer_to_mac_revision);
        out.utf16(&self.subscriber_name);
        out.field(0u16);
    }
}

message! {
    /// LinkViewerToMacFunnelInfo, §5.3: asks for the client id and for packet pair.
    pub struct FunnelInfo {
        /// Kind of packet pair wanted (section 4.5).
        play_incarnation: Incarnation,
    }
}

/// LinkViewerToMacConnectFunnel, §5.5: asks for a data path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectFunnel {
    /// Garbage.
    pub play_incarnation: Incarnation,
    /// 0xFFFFFFFF or 0.
    pub max_block_bytes: u32,
    /// 0.
    pub max_funnel_bytes: u32,
    /// Bit/s the client believes it can take.
    pub max_bit_rate: u32,
    /// 2.
    pub funnel_mode: u32,
    /// `\\ip\TCP\port` or `\\ip\UDP\port`, cut at the first U+0000; see `FunnelName`.
    pub funnel_name: String,
}

impl Body for ConnectFunnel {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            play_incarnation: reader.field("playIncarnation")?,
            max_block_bytes: reader.field("maxBlockBytes")?,
            max_funnel_bytes: reader.field("maxFunnelBytes")?,
            max_bit_rate: reader.field("maxBitRate")?,
            funnel_mode: reader.field("funnelMode")?,
            funnel_name: utf16_to_nul(reader.rest()),
        })
    }

    fn encode(&self, out: &mut Writer<'_>) {
        out.field(self.play_incarnation);
        out.field(self.max_block_bytes);
        out.field(self.max_funnel_bytes);
        out.field(self.max_bit_rate);
        out.field(self.funnel_mode);
        out.utf16(&self.funnel_name);
        out.field(0u16);
    }
}

/// LinkViewerToMacOpenFile, §5.8: names the channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OpenFile {
    /// Echoed in the reply; mplayer sends the illegal 0.
    pub play_incarnation: Incarnation,
    /// Garbage.
    pub spare: u32,
    /// Path with query, no leading slash by the rules, cut at the first U+0000; see `Path`.
    pub file_name: String,
    /// Credentials, or empty.
    pub token: Vec<u8>,
}

impl Body for OpenFile {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Truncated> {
        let play_incarnation = reader.field("playIncarnation")?;
        let spare = reader.field("spare")?;
        let token_at = reader.field::<u32>("token")? as usize;
        let token_size = reader.field::<u32>("cbtoken")? as usize;
        let mut region = reader.clone();
        let mut name = reader.rest();
        let mut token = Vec::new();
        if token_size > 0 {
            region.take("fileName", token_at)?;
            token = region.take("tokenData", token_size)?.to_vec();
            if token_at > 0 {
                name = name.get(..token_at).unwrap_or_default();
            }
        }
        Ok(Self {
            play_incarnation,
            spare,
            file_name: utf16_to_nul(name),
            token,
        })
    }

    fn encode(&self, out: &mut Writer<'_>) {
        let name_bytes = (self.file_name.encode_utf16().count() + 1) * 2;
        out.field(self.play_incarnation);
        out.field(self.spare);
        out.field(if self.token.is_empty() {
            0
        } else {
            u32::try_from(name_bytes).unwrap_or(u32::MAX)
        });
        out.field(u32::try_from(self.token.len()).unwrap_or(u32::MAX));
        out.utf16(&self.file_name);
        out.field(0u16);
        out.bytes(&self.token);
    }
}

/// LinkViewerToMacSecurityResponse, §5.11.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SecurityResponse {
    /// Echo of the challenge's.
    pub play_incarnation: Incarnation,
    /// Echo of the challenge's.
    pub cookie: u32,
    /// Basic: base64 and NUL. NTLM: two zero bytes and a token.
    pub token: Vec<u8>,
}

impl Body for SecurityResponse {
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
    /// LinkViewerToMacReadBlock, §5.12: asks for the ASF header. Only `play_incarnation` counts.
    pub struct ReadBlock {
        /// 1; never verified.
        open_file_id: u32,
        /// 0.
        file_block_id: u32,
        /// 0.
        offset: u32,
        /// 0x8000 and others.
        length: u32,
        /// 0xFFFFFFFF.
        flags: u32,
        /// Garbage.
        padding: u32,
        /// 0.0.
        earliest_seconds: f64,
        /// 3600.0.
        deadline_seconds: f64,
        /// Tag for the header's Data packets.
        play_incarnation: Incarnation,
        /// 0.
        play_sequence: u32,
    }
}

message! {
    /// LinkViewerToMacCancelReadBlock, §5.14: drop unsent header packets.
    pub struct CancelReadBlock {
        /// Tag of the header.
        play_incarnation: Incarnation,
    }
}

/// LinkViewerToMacStreamSwitch, §5.15: which streams to send.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamSwitch {
    /// `cStreamEntries` as announced; mplayer announces more than it sends.
    pub announced: u32,
    /// The entries that fit into the message.
    pub entries: Vec<StreamEntry>,
}

message! {
    /// One entry of a StreamSwitch.
    pub struct StreamEntry {
        /// Stream to switch from; 0xFFFF: none.
        source: u16,
        /// Stream to switch to; 0xFFFF: none.
        target: u16,
        /// 0 all, 1 key frames only, 2 off.
        thinning_level: u16,
    }
}

impl StreamEntry {
    /// "No stream" in `source` or `target`.
    pub const NONE: u16 = 0xFFFF;
    /// Bytes of an entry.
    pub const BYTES: usize = 6;

    /// The form all open-source clients use: stream `target` at `thinning_level`.
    pub fn select(target: u16, thinning_level: u16) -> Self {
        Self {
            source: Self::NONE,
            target,
            thinning_level,
        }
    }
}

impl StreamSwitch {
    /// A message that announces what it holds.
    pub fn new(entries: Vec<StreamEntry>) -> Self {
        Self {
            announced: u32::try_from(entries.len()).unwrap_or(u32::MAX),
            entries,
        }
    }
}

impl Body for StreamSwitch {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Truncated> {
        let announced: u32 = reader.field("cStreamEntries")?;
        let count = usize::try_from(announced)
            .unwrap_or(usize::MAX)
            .min(reader.left() / StreamEntry::BYTES);
        let entries = (0..count)
            .map(|_| StreamEntry::decode(reader))
            .collect::<Result<_, _>>()?;
        Ok(Self { announced, entries })
    }

    fn encode(&self, out: &mut Writer<'_>) {
        out.field(self.announced);
        for entry in &self.entries {
            Body::encode(entry, out);
        }
    }
}

/// LinkViewerToMacStartPlaying, §5.17.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StartPlaying {
    /// 1; never verified.
    pub open_file_id: u32,
    /// Garbage.
    pub padding: u32,
    /// Seconds from the start, or `f64::MAX`: use another field.
    pub position_seconds: f64,
    /// Byte offset in the file, or 0 / 0xFFFFFFFF.
    pub asf_offset: u32,
    /// ASF packet number, or 0 / 0xFFFFFFFF.
    pub location_id: u32,
    /// Stop time in ms, 0 none; 0x00FFFFFF means none as well.
    pub frame_offset: u32,
    /// Tag for the data.
    pub play_incarnation: Incarnation,
    /// Optional fields, present by the message's length.
    pub acceleration: Acceleration,
}

/// The optional tail of StartPlaying: how fast the client wants the first part.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Acceleration {
    /// `dwAccelBandwidth`, bit/s for the first part; comes with `duration_ms`.
    pub bandwidth: Option<u32>,
    /// `dwAccelDuration`, ms of media to send at that rate.
    pub duration_ms: Option<u32>,
    /// `dwLinkBandwidth`, bit/s of the client's link.
    pub link: Option<u32>,
}

impl Body for StartPlaying {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            open_file_id: reader.field("openFileId")?,
            padding: reader.field("padding")?,
            position_seconds: reader.field("position")?,
            asf_offset: reader.field("asfOffset")?,
            location_id: reader.field("locationId")?,
            frame_offset: reader.field("frameOffset")?,
            play_incarnation: reader.field("playIncarnation")?,
            acceleration: Acceleration::decode(reader)?,
        })
    }

    fn encode(&self, out: &mut Writer<'_>) {
        out.field(self.open_file_id);
        out.field(self.padding);
        out.field(self.position_seconds);
        out.field(self.asf_offset);
        out.field(self.location_id);
        out.field(self.frame_offset);
        out.field(self.play_incarnation);
        self.acceleration.encode(out);
    }
}

impl Acceleration {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Truncated> {
        let mut acceleration = Self::default();
        if reader.left() >= 8 {
            acceleration.bandwidth = Some(reader.field("dwAccelBandwidth")?);
            acceleration.duration_ms = Some(reader.field("dwAccelDuration")?);
        }
        if reader.left() >= 4 {
            acceleration.link = Some(reader.field("dwLinkBandwidth")?);
        }
        Ok(acceleration)
    }

    fn encode(&self, out: &mut Writer<'_>) {
        if self.bandwidth.is_none() && self.duration_ms.is_none() && self.link.is_none() {
            return;
        }
        out.field(self.bandwidth.unwrap_or(0));
        out.field(self.duration_ms.unwrap_or(0));
        if let Some(link) = self.link {
            out.field(link);
        }
    }
}

message! {
    /// LinkViewerToMacStartStriding, §5.19: fast forward and rewind.
    pub struct StartStriding {
        /// 1; never verified.
        open_file_id: u32,
        /// Garbage.
        padding: u32,
        /// As in StartPlaying.
        position_seconds: f64,
        /// As in StartPlaying.
        asf_offset: u32,
        /// As in StartPlaying.
        location_id: u32,
        /// Ignored.
        frame_offset: u32,
        /// Tag for the data.
        play_incarnation: Incarnation,
        /// −5 … +5, not 0.
        rate: f64,
    }
}

message! {
    /// LinkViewerToMacStopPlaying, §5.20.
    pub struct StopPlaying {
        /// 1; never verified.
        open_file_id: u32,
        /// Echoed as a whole dword; VLC sends 0x001FFFFF.
        play_incarnation: Incarnation,
    }
}

message! {
    /// LinkViewerToMacPong, §5.23.
    pub struct Pong {
        /// 0; ffmpeg 1.
        param1: u32,
        /// 0; ffmpeg 0x0100FFFF.
        param2: u32,
    }
}

/// LinkViewerToMacLogging, §5.24: what the client experienced. Any size is taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logging {
    /// The record; missing bytes read as zero.
    pub log: Box<ClientLog>,
}

impl Body for Logging {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            log: Box::new(ClientLog::decode(reader.rest())),
        })
    }

    fn encode(&self, out: &mut Writer<'_>) {
        self.log.encode(out);
    }
}

message! {
    /// LinkViewerToMacCloseFile, §5.25.
    pub struct CloseFile {
        /// Garbage.
        play_incarnation: Incarnation,
        /// 1.
        open_file_id: u32,
    }
}
