//! What a player reports about its session (its *client log*), as one line an operator's tools can read.
//!
//! One W3C Extended Log line per report, fields as Windows Media Services names them where it has a name, separated by single spaces;
//! nothing a player sends can add a field, a line or a control character. No time stands in the line: the log event has one.

use std::fmt;
use std::net::IpAddr;

/// A player's report in the order and with the meaning of CLIENT_LOG (`docs/protocol/mmsp.md` §6). Every text is the player's word, unchecked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientLogRecord {
    /// Where the connection really comes from.
    pub peer: IpAddr,
    /// The channel as configured; empty if none was open.
    pub channel: String,
    /// What the player says it opened.
    pub url: String,
    /// Its product name and version.
    pub agent: String,
    /// Its operating system.
    pub system: String,
    /// Language code, e.g. `en-US`.
    pub language: String,
    /// `TCP` or `UDP`.
    pub transport: String,
    /// Codec of the audio it decoded.
    pub audio_codec: String,
    /// Codec of the video it decoded.
    pub video_codec: String,
    /// How it ended; 0 = well.
    pub hresult: u32,
    /// Time played, ms.
    pub played_ms: u32,
    /// Bytes of media received.
    pub received_bytes: u64,
    /// Packets received.
    pub received_packets: u32,
    /// Packets lost on the network, before any were sent again.
    pub lost_net_packets: u32,
    /// Packets never received.
    pub lost_client_packets: u32,
    /// Packets that arrived after they were asked for again.
    pub recovered_packets: u32,
    /// Requests to send again.
    pub resend_requests: u32,
    /// Times it had to stop and fill its buffer.
    pub buffering_count: u32,
    /// Time spent so, ms.
    pub buffering_ms: u32,
    /// Average bandwidth, bit/s.
    pub bandwidth_bits_per_s: u32,
    /// Worst reception, 0–100.
    pub quality_percent: u32,
}

impl ClientLogRecord {
    /// The directive that explains the lines, for the head of a log file.
    pub const FIELDS: &'static str = "#Fields: c-ip x-channel cs-url cs(User-Agent) c-os c-playerlanguage transport audiocodec videocodec \
         c-status x-duration-ms c-bytes c-pkts-received c-pkts-lost-net c-pkts-lost-client c-pkts-recovered-resent c-resendreqs \
         c-buffercount c-totalbuffertime-ms avgbandwidth c-quality";

    /// Writes one event, target `funnel::access`, level info.
    pub fn emit(&self) {
        tracing::info!(target: "funnel::access", "{self}");
    }
}

impl fmt::Display for ClientLogRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.peer)?;
        for text in [
            &self.channel,
            &self.url,
            &self.agent,
            &self.system,
            &self.language,
            &self.transport,
            &self.audio_codec,
            &self.video_codec,
        ] {
            write!(f, " {}", Field(text))?;
        }
        write!(
            f,
            " 0x{:08X} {} {}",
            self.hresult, self.played_ms, self.received_bytes
        )?;
        for number in [
            self.received_packets,
            self.lost_net_packets,
            self.lost_client_packets,
            self.recovered_packets,
            self.resend_requests,
            self.buffering_count,
            self.buffering_ms,
            self.bandwidth_bits_per_s,
            self.quality_percent,
        ] {
            write!(f, " {number}")?;
        }
        Ok(())
    }
}

/// One text as one field: empty is `-`, a space is `+`, what would break the line or deceive a terminal is percent-encoded, and
/// what is longer than any honest value is cut.
struct Field<'a>(&'a str);

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("-");
        }
        for letter in self.0.chars().take(LETTERS_MAX) {
            match letter {
                ' ' => f.write_str("+")?,
                '+' | '%' | '"' => write!(f, "%{:02X}", u32::from(letter))?,
                letter if is_plain(letter) => write!(f, "{letter}")?,
                letter => letter
                    .encode_utf8(&mut [0; 4])
                    .bytes()
                    .try_for_each(|byte| write!(f, "%{byte:02X}"))?,
            }
        }
        if self.0.chars().nth(LETTERS_MAX).is_some() {
            f.write_str("…")
        } else {
            Ok(())
        }
    }
}

/// The longest field of CLIENT_LOG (`docs/protocol/mmsp.md` §6): 260 bytes.
const LETTERS_MAX: usize = 260;

/// Letters of any script, but nothing invisible: no controls, no other spaces, no marks that turn the direction of writing.
fn is_plain(letter: char) -> bool {
    letter.is_ascii_graphic() || letter.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> ClientLogRecord {
        ClientLogRecord {
            peer: "192.0.2.7".parse().expect("an address"),
            channel: "Evening News".to_owned(),
            url: "mms://studio/Evening%20News".to_owned(),
            agent: "Windows-Media-Player/9.00.00.2980".to_owned(),
            system: "Windows_XP".to_owned(),
            language: "en-US".to_owned(),
            transport: "TCP".to_owned(),
            audio_codec: "Windows Media Audio 9".to_owned(),
            video_codec: String::new(),
            hresult: 0xC00D_0013,
            played_ms: 61_500,
            received_bytes: 2_306_250,
            received_packets: 1_594,
            lost_net_packets: 3,
            lost_client_packets: 1,
            recovered_packets: 2,
            resend_requests: 4,
            buffering_count: 5,
            buffering_ms: 4_800,
            bandwidth_bits_per_s: 300_000,
            quality_percent: 99,
        }
    }

    #[test]
    fn one_line_in_the_order_of_the_directive() {
        assert_eq!(
            record().to_string(),
            "192.0.2.7 Evening+News mms://studio/Evening%2520News Windows-Media-Player/9.00.00.2980 Windows_XP en-US TCP \
             Windows+Media+Audio+9 - 0xC00D0013 61500 2306250 1594 3 1 2 4 5 4800 300000 99"
        );
        let names = ClientLogRecord::FIELDS.split(' ').count() - 1;
        assert_eq!(record().to_string().split(' ').count(), names);
    }

    #[test]
    fn a_lying_player_cannot_forge_a_line() {
        let agent = "x\r\n203.0.113.9 - -\u{1b}[2J\u{202e}é".to_owned();
        let line = ClientLogRecord { agent, ..record() }.to_string();
        assert!(
            line.contains(" x%0D%0A203.0.113.9+-+-%1B[2J%E2%80%AEé "),
            "{line}"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_one_short_field(text in any::<String>()) {
            let field = Field(&text).to_string();
            prop_assert!(!field.is_empty());
            prop_assert!(!field.chars().any(|letter| letter.is_control() || letter.is_whitespace()));
            prop_assert!(field.len() <= LETTERS_MAX * 12 + 3);
        }
    }
}
