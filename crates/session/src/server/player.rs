//! Which player is it? Open-source players all call themselves `NSPlayer/7.0.0.1956`; small habits tell them apart.
//!
//! Nobody is refused for what it is (§5.1). The answer decides two things: whether a StreamChange is understood (§8.4)
//! and whether padding is wanted (§3.5); everything else is for the log.

use funnel_wire::mms::{ConnectFunnel, FunnelInfo, FunnelName, Incarnation, SubscriberName};

/// A player by its habits (§5.1, §11.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Player {
    /// Nothing known.
    #[default]
    Unknown,
    /// ffmpeg, mpv and others with libavformat.
    Ffmpeg,
    /// mplayer.
    Mplayer,
    /// VLC.
    Vlc,
    /// libmms: mpd, audacious, qmmp.
    Libmms,
    /// xine.
    Xine,
    /// Windows Media Player and its SDK, by major version of `NSPlayer`.
    WindowsMedia {
        /// 4 is Windows Media Player 6.4.
        major: u16,
    },
    /// Windows Media Services 4.x pulling for redistribution.
    DistributionServer,
}

impl Player {
    /// First guess, from Connect.
    pub(super) fn of_subscriber(name: &SubscriberName) -> Self {
        if name.is_distribution_server() {
            return Self::DistributionServer;
        }
        match name.guid.as_deref() {
            Some(FFMPEG_GUID) => return Self::Ffmpeg,
            Some(MPLAYER_GUID) => return Self::Mplayer,
            Some(guid) if guid.starts_with("0x") => return Self::Vlc,
            _ => {}
        }
        if name.product.eq_ignore_ascii_case(OPEN_SOURCE_PRODUCT) {
            return Self::Libmms;
        }
        name.player_version()
            .map_or(Self::Unknown, |(major, _)| Self::WindowsMedia { major })
    }

    /// Better, once FunnelInfo came.
    pub(super) fn seen_funnel_info(self, message: &FunnelInfo) -> Self {
        if message.play_incarnation == Incarnation::FFMPEG {
            Self::Ffmpeg
        } else {
            self
        }
    }

    /// Better, once ConnectFunnel came: the invented address and `maxBlockBytes` differ.
    pub(super) fn seen_connect_funnel(self, message: &ConnectFunnel) -> Self {
        if !matches!(self, Self::Libmms | Self::Mplayer) {
            return self;
        }
        let text = &message.funnel_name;
        let address = FunnelName::parse(text)
            .map(|name| name.address)
            .unwrap_or_default();
        match (address.as_str(), message.max_block_bytes) {
            ("192.168.0.129", 0) => Self::Xine,
            ("192.168.0.129", _) => Self::Libmms,
            ("192.168.0.1", _) if text.ends_with(r"\1242") => Self::Vlc,
            ("192.168.0.1", 0) => Self::Mplayer,
            _ => self,
        }
    }

    /// Does it go on after a StreamChange? ffmpeg, mplayer, VLC and Windows Media Player 6.4 do not (§8.4).
    pub fn takes_stream_change(self) -> bool {
        !matches!(
            self,
            Self::Ffmpeg | Self::Mplayer | Self::Vlc | Self::WindowsMedia { major: 0..=6 }
        )
    }

    /// Must padding stay in the packets?
    pub(super) fn keeps_padding(self) -> bool {
        self == Self::DistributionServer
    }

    /// Short name for the log, when it says more than the product string.
    fn nickname(self) -> Option<&'static str> {
        Some(match self {
            Self::Ffmpeg => "ffmpeg",
            Self::Mplayer => "mplayer",
            Self::Vlc => "VLC",
            Self::Libmms => "libmms",
            Self::Xine => "xine",
            Self::Unknown | Self::WindowsMedia { .. } | Self::DistributionServer => return None,
        })
    }

    /// Text for logs: the product string, printable ASCII only and at most 48 characters, and the nickname.
    pub(super) fn agent(self, product: &str) -> Box<str> {
        let printable = |c: char| {
            if c == ' ' || c.is_ascii_graphic() {
                c
            } else {
                '?'
            }
        };
        let mut text: String = product.chars().take(48).map(printable).collect();
        if let Some(nickname) = self.nickname() {
            text.push_str(" (");
            text.push_str(nickname);
            text.push(')');
        }
        text.into_boxed_str()
    }
}

const OPEN_SOURCE_PRODUCT: &str = "NSPlayer/7.0.0.1956";
const FFMPEG_GUID: &str = "7E667F5D-A661-495E-A512-F55686DDA178";
const MPLAYER_GUID: &str = "33715801-BAB3-9D85-24E9-03B90328270A";

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(subscriber: &str, funnel: &str, max_block_bytes: u32) -> Player {
        let funnel = ConnectFunnel {
            funnel_name: funnel.into(),
            max_block_bytes,
            ..ConnectFunnel::default()
        };
        Player::of_subscriber(&SubscriberName::parse(subscriber)).seen_connect_funnel(&funnel)
    }

    #[test]
    fn players_are_told_apart_by_their_habits() {
        let (a, b) = (r"\\192.168.0.129\TCP\1037", r"\\192.168.0.1\TCP\1037");
        let random = "NSPlayer/7.0.0.1956; {0A1B2C3D-0000-1111-2222-333344445555}; Host: h";
        let ffmpeg = "NSPlayer/7.0.0.1956; {7E667F5D-A661-495E-A512-F55686DDA178}; Host: h";
        let mplayer = "NSPlayer/7.0.0.1956; {33715801-BAB3-9D85-24E9-03B90328270A}; Host: h";
        let vlc = "NSPlayer/7.0.0.1956; {0xbabac001-0xd402-0xa15d-0xdecb782e070a5d1a}; Host: h";
        assert_eq!(seen(ffmpeg, a, u32::MAX), Player::Ffmpeg);
        assert_eq!(seen(mplayer, b, 0), Player::Mplayer);
        assert_eq!(seen(vlc, r"\\192.168.0.1\TCP\1242", u32::MAX), Player::Vlc);
        assert_eq!(seen(random, a, u32::MAX), Player::Libmms);
        assert_eq!(seen(random, a, 0), Player::Xine);
        assert_eq!(
            seen("NSPlayer/9.0.0.2980; {X}", a, 0),
            Player::WindowsMedia { major: 9 }
        );
        assert_eq!(seen("Spooooon!", "", 0), Player::DistributionServer);
        assert_eq!(seen("", "", 0), Player::Unknown);
    }

    #[test]
    fn who_takes_a_stream_change() {
        for player in [
            Player::Ffmpeg,
            Player::Mplayer,
            Player::Vlc,
            Player::WindowsMedia { major: 4 },
        ] {
            assert!(!player.takes_stream_change(), "{player:?}");
        }
        for player in [
            Player::Libmms,
            Player::Xine,
            Player::Unknown,
            Player::WindowsMedia { major: 7 },
        ] {
            assert!(player.takes_stream_change(), "{player:?}");
        }
    }

    #[test]
    fn the_agent_is_short_and_printable() {
        assert_eq!(
            &*Player::Vlc.agent("NSPlayer/7.0.0.1956"),
            "NSPlayer/7.0.0.1956 (VLC)"
        );
        assert_eq!(&*Player::Unknown.agent("a\x1B[2J\u{202E}b"), "a?[2J?b");
        assert_eq!(Player::Unknown.agent(&"x".repeat(500)).len(), 48);
    }
}
