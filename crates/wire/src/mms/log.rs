//! CLIENT_LOG: what a player reports about the time it spent (section 6). Packed, 8-bit text, attacker-controlled.
//!
//! Decoding takes any size: what is missing reads as zero. Text ends at the first NUL or the field's end and loses its
//! control characters; `-` means empty.

use crate::codec::{Field, Reader, Truncated, Writer, latin1_to_nul};

/// Size of the whole structure.
pub const CLIENT_LOG_BYTES: usize = 1490;
/// Size of the inner CLIENT_LOG_INFO, and its `cbSize`.
const INFO_BYTES: usize = 1142;

macro_rules! client_log {
    ($($kind:tt $field:ident $name:literal $(($size:literal))? : $type:ty, $doc:literal;)*) => {
        /// CLIENT_LOG with its CLIENT_LOG_INFO flattened.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct ClientLog { $(#[doc = $doc] pub $field: $type,)* }

        impl ClientLog {
            fn read(reader: &mut Reader<'_>) -> Result<Self, Truncated> {
                let mut log = Self::default();
                $(client_log!(@read $kind log.$field, reader, $name $(, $size)?);)*
                Ok(log)
            }

            fn write(&self, out: &mut Writer<'_>) {
                $(client_log!(@write $kind self.$field, out $(, $size)?);)*
            }
        }
    };
    (@read size $target:expr, $reader:ident, $name:literal) => { $target = $reader.field($name)?; };
    (@read number $target:expr, $reader:ident, $name:literal) => { $target = $reader.field($name)?; };
    (@read text $target:expr, $reader:ident, $name:literal, $size:literal) => {
        $target = text($reader.take($name, $size)?);
    };
    (@write size $source:expr, $out:ident) => { $source.write($out); };
    (@write number $source:expr, $out:ident) => { $source.write($out); };
    (@write text $source:expr, $out:ident, $size:literal) => { write_text(&$source, $size, $out); };
}

client_log! {
    size log_bytes "cbSize": LogSize, "`cbSize` of the whole.";
    size info_bytes "info.cbSize": InfoSize, "`cbSize` of the inner structure.";
    text url "szURL" (260): String, "What was played.";
    text channel_url "szChannelURL" (260): String, "The `.nsc` it came from.";
    text user_agent "szUserAgent" (64): String, "Browser, if embedded.";
    text hosting_web_page "szHostingWebPage" (260): String, "Page, if embedded.";
    number client_version "qwClientVersion": u64, "4 × u16, major in the top 16 bits.";
    text language "szLang" (16): String, "Such as `en-US`.";
    text unique_id "szUniquePID" (40): String, "Player GUID.";
    text host_exe "szHostExe" (32): String, "Such as `wmplayer.exe`.";
    number host_exe_version "qwHostExeVer": u64, "4 × u16.";
    number file_duration_ms "msFileDuration": u32, "0 for live.";
    number file_bytes "qwFileSize": u64, "0 for live.";
    number average_bits_per_s "dwAvgBandwidthBps": u32, "Average received rate.";
    text audio_codec "szAudioCodec" (64): String, "Name of the audio codec.";
    text video_codec "szVideoCodec" (64): String, "Name of the video codec.";
    number start_time_ms "msStartTime": u32, "Position, 0 for live.";
    number played_ms "msPlayed": u32, "Time rendered.";
    number rate "rate": i16, "1 normal; negative: rewind.";
    number buffering_count "dwBufferingCount": u32, "How often it rebuffered.";
    number buffering_ms "msBufferingTime": u32, "How long it rebuffered.";
    number bytes_received "qwBytesReceived": u64, "Bytes.";
    number packets_received "dwPacketsReceived": u32, "Packets.";
    number packets_lost_client "dwPacketsLostClient": u32, "Packets lost in the player.";
    number packets_recovered_ecc "dwPacketsRecoveredECC": u32, "0 over MMS.";
    number reception_quality_min "dwMinReceptionQuality": u32, "0–100.";
    number result "hr": u32, "Result of playing.";
    number source_id "dwSourceId": u32, "openFileId.";
    number ip_address "dwIPAddress": u32, "IPv4, or 0xFFFFFFFF.";
    text computer_dns "szComputerDNS" (260): String, "Host name.";
    text os "szOS" (16): String, "Operating system.";
    number os_version "qwOSVersion": u64, "4 × u16.";
    text cpu "szCPU" (16): String, "Processor.";
    text protocol "szProto" (8): String, "`mms`.";
    text transport "szTransport" (8): String, "`UDP` or `TCP`.";
    number packets_lost_net "dwPacketsLostNet": u32, "Packets lost on the way.";
    number packets_lost_continuous_net "dwPacketsLostContNet": u32, "Longest run lost.";
    number resend_requests "dwResendRequests": u32, "Resend requests sent.";
    number packets_recovered_resent "dwPacketsRecoveredResent": u32, "Packets regained by resend.";
    number packets_resent "dwPacketsResent": u32, "Resent packets received.";
}

impl ClientLog {
    /// Reads whatever there is.
    pub fn decode(bytes: &[u8]) -> Self {
        let mut padded = [0; CLIENT_LOG_BYTES];
        let size = bytes.len().min(CLIENT_LOG_BYTES);
        padded[..size].copy_from_slice(&bytes[..size]);
        Self::read(&mut Reader::new(&padded, 8)).unwrap_or_default()
    }

    /// Appends exactly [`CLIENT_LOG_BYTES`]; text that does not fit is cut.
    pub fn encode(&self, out: &mut Writer<'_>) {
        self.write(out);
    }
}

/// A `cbSize` field: written as the true size, whatever was received.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CbSize<const SIZE: usize>;
type LogSize = CbSize<CLIENT_LOG_BYTES>;
type InfoSize = CbSize<INFO_BYTES>;

impl<const SIZE: usize> Field for CbSize<SIZE> {
    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, Truncated> {
        reader.field::<u32>(field).map(|_| Self)
    }

    fn write(&self, out: &mut Writer<'_>) {
        out.field(SIZE as u32);
    }
}

fn text(field: &[u8]) -> String {
    let text = latin1_to_nul(field);
    if text == "-" { String::new() } else { text }
}

fn write_text(text: &str, size: usize, out: &mut Writer<'_>) {
    let text = if text.is_empty() { "-" } else { text };
    let start = out.written();
    for c in text.chars().take(size - 1) {
        out.field(u8::try_from(u32::from(c)).unwrap_or(b'?'));
    }
    out.zeros(size - (out.written() - start));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(log: &ClientLog) -> Vec<u8> {
        let mut out = Vec::new();
        log.encode(&mut Writer::new(&mut out));
        out
    }

    #[test]
    fn fields_lie_where_section_6_says() {
        let log = ClientLog {
            url: "mms://h/live".into(),
            played_ms: 0x0102_0304,
            rate: -5,
            source_id: 1,
            protocol: "mms".into(),
            transport: "TCP".into(),
            packets_resent: 0xAABB_CCDD,
            ..ClientLog::default()
        };
        let bytes = encoded(&log);
        assert_eq!(bytes.len(), CLIENT_LOG_BYTES);
        assert_eq!(bytes[..4], 1490u32.to_le_bytes());
        assert_eq!(bytes[4..8], 1142u32.to_le_bytes());
        assert_eq!(bytes[8..20], *b"mms://h/live");
        assert_eq!(bytes[4 + 264..4 + 266], *b"-\0");
        assert_eq!(bytes[4 + 1100..4 + 1104], [4, 3, 2, 1]);
        assert_eq!(bytes[4 + 1104..4 + 1106], (-5i16).to_le_bytes());
        assert_eq!(bytes[1146..1150], 1u32.to_le_bytes());
        assert_eq!(bytes[1454..1457], *b"mms");
        assert_eq!(bytes[1462..1465], *b"TCP");
        assert_eq!(bytes[1486..], 0xAABB_CCDDu32.to_le_bytes());
        assert_eq!(ClientLog::decode(&bytes), log);
    }

    #[test]
    fn text_is_bounded_and_loses_its_controls() {
        let mut bytes = encoded(&ClientLog::default());
        bytes[8..8 + 260].fill(b'x'); // no NUL at all
        bytes[1454..1462].copy_from_slice(b"m\x1B[2Jms\n");
        let log = ClientLog::decode(&bytes);
        assert_eq!(log.url, "x".repeat(260));
        assert_eq!(log.channel_url, "");
        assert_eq!(log.protocol, "m[2Jms");
    }

    #[test]
    fn any_size_is_taken() {
        let bytes = encoded(&ClientLog {
            url: "u".into(),
            packets_resent: 7,
            ..ClientLog::default()
        });
        for size in 0..bytes.len() {
            let log = ClientLog::decode(&bytes[..size]);
            let resent = if size > 1486 { 7 } else { 0 };
            assert_eq!(log.packets_resent, resent, "cut at {size}");
        }
        let longer = [&bytes[..], &[9; 100]].concat();
        assert_eq!(ClientLog::decode(&longer).packets_resent, 7);
    }
}
