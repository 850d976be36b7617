//! Whose habits a client session has: the values of §11.1, §3.4 and §5 that players differ in.

use funnel_wire::mms::Incarnation;

/// The habits of one player. The fields are public, so that a test can make up another.
#[derive(Clone, Debug, PartialEq)]
pub struct Manner {
    /// Name for reports.
    pub name: &'static str,
    /// `NSPlayer/…; {guid}`, or the distribution-server token.
    pub subscriber: &'static str,
    /// Append `; Host: …`?
    pub names_host: bool,
    /// `playIncarnation` of Connect without packet pair.
    pub connect: Incarnation,
    /// FunnelInfo's value without packet pair; `None`: the message is not sent.
    pub funnel_info: Option<Incarnation>,
    /// Invented funnel name; `None`: the true address.
    pub funnel: Option<&'static str>,
    /// `maxBlockBytes` of ConnectFunnel.
    pub max_block_bytes: u32,
    /// `maxBitRate` of ConnectFunnel.
    pub max_bit_rate: u32,
    /// `spare` of OpenFile.
    pub open_spare: u32,
    /// Tags of OpenFile, ReadBlock and the first StartPlaying.
    pub tags: [u8; 3],
    /// Tag of later StartPlayings.
    pub play_tags: PlayTags,
    /// `length` and `flags` of ReadBlock.
    pub read_block: (u32, u32),
    /// Does it select streams at all?
    pub selects_streams: bool,
    /// Extra zero entries behind a StreamSwitch.
    pub switch_padding_entries: usize,
    /// Does it wait for ReportStreamSwitch before StartPlaying?
    pub waits_for_switch: bool,
    /// `padding` and `frameOffset` of StartPlaying.
    pub start_playing: (u32, u32),
    /// The dword of StopPlaying; `None`: the run's tag.
    pub stop_incarnation: Option<Incarnation>,
    /// Both parameters of Pong.
    pub pong: (u32, u32),
    /// Sends CloseFile before it leaves?
    pub closes_file: bool,
}

/// How the tag of a run follows from the one before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PlayTags {
    /// Always the same.
    Same,
    /// One more, from 254 back to this value.
    Next {
        /// After 254.
        wraps_to: u8,
    },
}

impl Manner {
    /// Windows Media Player 9: what §13 recommends.
    pub const WINDOWS_MEDIA_9: Self = Self {
        name: "Windows Media Player 9",
        subscriber: "NSPlayer/9.0.0.2980; {3300AD50-2C39-46C0-AE0A-0123456789AB}",
        names_host: true,
        connect: Incarnation::NO_PACKET_PAIR,
        funnel_info: Some(Incarnation::NO_PACKET_PAIR),
        funnel: None,
        max_block_bytes: u32::MAX,
        max_bit_rate: 10_000_000,
        open_spare: 0,
        tags: [9, 1, 10],
        play_tags: PlayTags::Next { wraps_to: 9 },
        read_block: (0x8000, u32::MAX),
        selects_streams: true,
        switch_padding_entries: 0,
        waits_for_switch: false,
        start_playing: (0, 0),
        stop_incarnation: None,
        pong: (0, 0),
        closes_file: true,
    };

    /// Windows Media Player 6.4: one incarnation counter, packet pair, no Host.
    pub const WINDOWS_MEDIA_6: Self = Self {
        name: "Windows Media Player 6.4",
        subscriber: "NSPlayer/4.1.0.3856; {3300AD50-2C39-46C0-AE0A-0123456789AC}",
        names_host: false,
        tags: [1, 2, 3],
        play_tags: PlayTags::Next { wraps_to: 1 },
        ..Self::WINDOWS_MEDIA_9
    };

    /// Windows Media Services 4.x pulling for redistribution: no StreamSwitch, no CloseFile.
    pub const DISTRIBUTION_SERVER: Self = Self {
        name: "Windows Media Services 4",
        subscriber: "Spoooon!",
        connect: Incarnation(0x0012_F5A0), // garbage (§5.1)
        read_block: (0xFFFF, u32::MAX),
        selects_streams: false,
        closes_file: false,
        ..Self::WINDOWS_MEDIA_6
    };

    /// ffmpeg 5.1.
    pub const FFMPEG: Self = Self {
        name: "ffmpeg",
        subscriber: "NSPlayer/7.0.0.1956; {7E667F5D-A661-495E-A512-F55686DDA178}",
        connect: Incarnation(0),
        funnel_info: Some(Incarnation::FFMPEG),
        funnel: Some(r"\\192.168.0.129\TCP\1037"),
        open_spare: u32::MAX,
        tags: [1, 2, 4],
        play_tags: PlayTags::Same,
        read_block: (0x0080_0000, u32::MAX),
        waits_for_switch: true,
        start_playing: (0x0001_FFFF, 0x00FF_FFFF),
        pong: (1, 0x0100_FFFF),
        ..Self::WINDOWS_MEDIA_9
    };

    /// libmms 0.6.4: mpd, audacious, qmmp.
    pub const LIBMMS: Self = Self {
        name: "libmms",
        subscriber: "NSPlayer/7.0.0.1956; {1B6C3C60-8A3E-4D71-A2F4-5D1E9C0B7A11}",
        funnel_info: None,
        play_tags: PlayTags::Next { wraps_to: 1 },
        read_block: (0x8000, u32::MAX),
        pong: (0, 0),
        closes_file: false,
        ..Self::FFMPEG
    };

    /// xine 1.2.
    pub const XINE: Self = Self {
        name: "xine",
        funnel: Some("\\\\192.168.0.129\\TCP\\1037\u{0}0"),
        max_block_bytes: 0,
        max_bit_rate: 0,
        read_block: (0x0080_0000, u32::MAX),
        switch_padding_entries: 1,
        ..Self::LIBMMS
    };

    /// mplayer 1.5.
    pub const MPLAYER: Self = Self {
        name: "mplayer",
        subscriber: "NSPlayer/7.0.0.1956; {33715801-BAB3-9D85-24E9-03B90328270A}",
        funnel: Some(r"\\192.168.0.1\TCP\1037"),
        max_block_bytes: 0,
        max_bit_rate: 0,
        tags: [0, 2, 4],
        read_block: (0, 0),
        start_playing: (0x0001_FFFF, 0),
        ..Self::LIBMMS
    };

    /// VLC 3.
    pub const VLC: Self = Self {
        name: "VLC",
        subscriber: "NSPlayer/7.0.0.1956; {0xbabac001-0xd402-0xa15d-0xdecb782e070a5d1a}",
        funnel: Some("\\\\192.168.0.1\\TCP\\1242\u{0}0"),
        max_bit_rate: 0x000A_0000,
        play_tags: PlayTags::Same,
        stop_incarnation: Some(Incarnation(0x001F_FFFF)),
        closes_file: true,
        ..Self::LIBMMS
    };

    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::WINDOWS_MEDIA_9,
        Self::WINDOWS_MEDIA_6,
        Self::DISTRIBUTION_SERVER,
        Self::FFMPEG,
        Self::LIBMMS,
        Self::XINE,
        Self::MPLAYER,
        Self::VLC,
    ];

    /// The tag of the run after one with tag `last`.
    pub(super) fn next_play_tag(&self, last: Option<u8>) -> u8 {
        match (last, self.play_tags) {
            (None, _) | (_, PlayTags::Same) => self.tags[2],
            (Some(last), PlayTags::Next { wraps_to }) => {
                if last >= 254 {
                    wraps_to
                } else {
                    last + 1
                }
            }
        }
    }
}
