//! What a player reports about the time it spent, as a line or as XML (§17). Attacker-controlled, like that of MMS, and read
//! into the same structure.
//!
//! Anything is accepted: what is missing or no number stays empty. Text loses its control characters; `-` means empty.

use std::net::Ipv4Addr;

use crate::mms::ClientLog;

impl ClientLog {
    /// Reads a line of 44 fields or more, as in `Pragma: log-line=…` and in `<Summary>`.
    pub fn from_line(line: &str) -> Self {
        let mut log = Self::default();
        let values: Vec<&str> = line.split_ascii_whitespace().collect();
        for (name, value) in LINE_FIELDS.iter().zip(&values) {
            set(&mut log, name, value);
        }
        // Rendering logs have three fields more in front of cs-url.
        let url = values.get(if values.len() >= RENDERING_FIELDS {
            47
        } else {
            44
        });
        if let Some(url) = url {
            set(&mut log, "cs-url", url);
        }
        log
    }

    /// Reads the XML of newer players: the line in `<Summary>`, then each element by its name. Damaged XML gives what can be
    /// found in it.
    pub fn from_xml(xml: &[u8]) -> Self {
        let xml = String::from_utf8_lossy(xml);
        let mut log = elements(&xml)
            .find(|(name, _)| name.eq_ignore_ascii_case("Summary"))
            .map_or_else(Self::default, |(_, line)| Self::from_line(&unescaped(line)));
        for (name, value) in elements(&xml) {
            set(&mut log, name, &unescaped(value));
        }
        log
    }
}

/// Elements without elements in them, and their text.
fn elements(xml: &str) -> impl Iterator<Item = (&str, &str)> {
    xml.split('<')
        .skip(1)
        .zip(xml.split('<').skip(2))
        .filter_map(|(begin, end)| {
            let (name, text) = begin.split_once('>')?;
            let name = name.split_ascii_whitespace().next()?;
            let closes = end.strip_prefix('/')?.strip_prefix(name)?;
            closes.trim_start().starts_with('>').then_some((name, text))
        })
}

/// The five entities that need no definition; others stay as they are.
fn unescaped(text: &str) -> String {
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (entity, character)| {
        text.replace(entity, character)
    })
}

fn set(log: &mut ClientLog, name: &str, value: &str) {
    let value = value.trim();
    if value == "-" {
        return;
    }
    match name {
        "c-ip" => {
            let address = value.parse().unwrap_or(Ipv4Addr::UNSPECIFIED);
            log.ip_address = u32::from_le_bytes(address.octets());
        }
        "c-dns" => log.computer_dns = text(value),
        "cs-uri-stem" | "cs-url" => log.url = text(value),
        "c-starttime" => log.start_time_ms = seconds(value),
        "x-duration" => log.played_ms = seconds(value),
        "c-rate" => log.rate = number(value),
        // 200: well; 210: well, after a reconnect.
        "c-status" => {
            log.result = if matches!(value, "200" | "210") {
                0
            } else {
                number(value)
            }
        }
        "c-playerid" => log.unique_id = text(value.trim_matches(['{', '}'])),
        "c-playerversion" => log.client_version = version(value),
        "c-playerlanguage" => log.language = text(value),
        "cs-User-Agent" | "cs(User-Agent)" => log.user_agent = text(value),
        "cs-Referer" | "cs(Referer)" => log.hosting_web_page = text(value),
        "c-hostexe" => log.host_exe = text(value),
        "c-hostexever" => log.host_exe_version = version(value),
        "c-os" => log.os = text(value),
        "c-osversion" => log.os_version = version(value),
        "c-cpu" => log.cpu = text(value),
        "filelength" => log.file_duration_ms = seconds(value),
        "filesize" => log.file_bytes = number(value),
        "avgbandwidth" => log.average_bits_per_s = number(value),
        "protocol" => log.protocol = text(value),
        "transport" => log.transport = text(value),
        "audiocodec" => log.audio_codec = text(value),
        "videocodec" => log.video_codec = text(value),
        "c-channelURL" => log.channel_url = text(value),
        "c-bytes" => log.bytes_received = number(value),
        "c-pkts-received" => log.packets_received = number(value),
        "c-pkts-lost-client" => log.packets_lost_client = number(value),
        "c-pkts-lost-net" => log.packets_lost_net = number(value),
        "c-pkts-lost-cont-net" => log.packets_lost_continuous_net = number(value),
        "c-resendreqs" => log.resend_requests = number(value),
        "c-pkts-recovered-ECC" => log.packets_recovered_ecc = number(value),
        "c-pkts-recovered-resent" => log.packets_recovered_resent = number(value),
        "c-buffercount" => log.buffering_count = number(value),
        "c-totalbuffertime" => log.buffering_ms = seconds(value),
        "c-quality" => log.reception_quality_min = number(value),
        _ => {} // what the server knows itself, and names of others
    }
}

/// As long as the longest text of MMS.
fn text(value: &str) -> String {
    value
        .chars()
        .filter(|c| !c.is_control())
        .take(260)
        .collect()
}

fn number<T: TryFrom<i64> + Default>(value: &str) -> T {
    // Some players write fractions.
    let whole = value.split('.').next().unwrap_or_default();
    whole
        .parse()
        .ok()
        .and_then(|number| T::try_from(number).ok())
        .unwrap_or_default()
}

/// Seconds, as milliseconds.
fn seconds(value: &str) -> u32 {
    number::<u32>(value).saturating_mul(1000)
}

/// `9.0.0.2980` as 4 × u16, the first in the top bits.
fn version(value: &str) -> u64 {
    let mut parts = value.split('.').map(number::<u16>);
    (0..4).fold(0, |version, _| {
        version << 16 | u64::from(parts.next().unwrap_or_default())
    })
}

/// The line of §17. `cs-url` is looked for separately.
const LINE_FIELDS: [&str; 44] = [
    "c-ip",
    "date",
    "time",
    "c-dns",
    "cs-uri-stem",
    "c-starttime",
    "x-duration",
    "c-rate",
    "c-status",
    "c-playerid",
    "c-playerversion",
    "c-playerlanguage",
    "cs-User-Agent",
    "cs-Referer",
    "c-hostexe",
    "c-hostexever",
    "c-os",
    "c-osversion",
    "c-cpu",
    "filelength",
    "filesize",
    "avgbandwidth",
    "protocol",
    "transport",
    "audiocodec",
    "videocodec",
    "c-channelURL",
    "sc-bytes",
    "c-bytes",
    "s-pkts-sent",
    "c-pkts-received",
    "c-pkts-lost-client",
    "c-pkts-lost-net",
    "c-pkts-lost-cont-net",
    "c-resendreqs",
    "c-pkts-recovered-ECC",
    "c-pkts-recovered-resent",
    "c-buffercount",
    "c-totalbuffertime",
    "c-quality",
    "s-ip",
    "s-dns",
    "s-totalclients",
    "s-cpu-util",
];

/// A rendering log has at least so many.
const RENDERING_FIELDS: usize = 52;

#[cfg(test)]
mod tests {
    use super::*;

    /// Made up after the field list of §17.
    const LINE: &str = "0.0.0.0 2026-11-21 10:00:00 - /live 0 75 1 210 {3300AD50-2C39-46c0-AE0A-0123456789AB} 12.0.7601.17514 en-US \
        WMFSDK/12.0.7601.17514_WMPlayer/12.0.7601.17514 http://h/page wmplayer.exe 12.0.7601.17514 Windows_7 6.1.0.7601 Pentium \
        0 0 331000 http TCP Windows_Media_Audio_9 Windows_Media_Video_9 - - 3102231 - 912 3 2 1 0 0 4 1 7 100 - - - -";

    fn check(log: &ClientLog) {
        assert_eq!(
            (log.url.as_str(), log.played_ms, log.rate, log.result),
            ("/live", 75_000, 1, 0)
        );
        assert_eq!(log.unique_id, "3300AD50-2C39-46c0-AE0A-0123456789AB");
        assert_eq!(log.client_version, 0x000C_0000_1DB1_446A);
        assert_eq!(
            log.user_agent,
            "WMFSDK/12.0.7601.17514_WMPlayer/12.0.7601.17514"
        );
        assert_eq!(
            (log.protocol.as_str(), log.transport.as_str()),
            ("http", "TCP")
        );
        assert_eq!((log.bytes_received, log.packets_received), (3_102_231, 912));
        assert_eq!((log.packets_lost_client, log.packets_lost_net), (3, 2));
        assert_eq!((log.packets_recovered_resent, log.buffering_count), (4, 1));
        assert_eq!((log.buffering_ms, log.reception_quality_min), (7000, 100));
        assert_eq!(
            (log.channel_url.as_str(), log.computer_dns.as_str()),
            ("", "")
        );
    }

    #[test]
    fn the_line_of_44_fields_and_its_longer_forms() {
        check(&ClientLog::from_line(LINE));
        let longer = ClientLog::from_line(&format!("{LINE} http://h/live.asf name role"));
        assert_eq!(
            (longer.url.as_str(), longer.packets_received),
            ("http://h/live.asf", 912)
        );
        let rendering = format!("{LINE} user id path http://h/r.asf name 0 role 1");
        assert_eq!(ClientLog::from_line(&rendering).url, "http://h/r.asf");
    }

    #[test]
    fn xml_is_read_by_its_summary_and_its_elements() {
        let xml = format!(
            "<XML>\r\n<Summary>{LINE}</Summary><c-quality>90</c-quality ><cs-url>http://h/a?b&amp;c&lt;</cs-url>"
        );
        let log = ClientLog::from_xml(xml.as_bytes());
        assert_eq!(
            (log.url.as_str(), log.reception_quality_min),
            ("http://h/a?b&c<", 90)
        );
        let mut log = log;
        (log.url, log.reception_quality_min) = ("/live".into(), 100);
        check(&log);
        let alone =
            b"<XML><c-os>Wine\x07</c-os><x-duration>5.9</x-duration><c-status>404</c-status></XML>";
        let log = ClientLog::from_xml(alone);
        assert_eq!(
            (log.os.as_str(), log.played_ms, log.result),
            ("Wine", 5000, 404)
        );
    }

    #[test]
    fn anything_is_accepted() {
        for text in [
            "",
            "-",
            "<",
            "<<>",
            "<a></a",
            "<XML><Summary></Summary>",
            "x y z -1 -1 -1 99999999999999999999 -7",
        ] {
            ClientLog::from_line(text);
            ClientLog::from_xml(text.as_bytes());
        }
        let log = ClientLog::from_line("300.1.1.1 d t - /x 99999999 -5 -2 x");
        assert_eq!(
            (log.start_time_ms, log.played_ms, log.rate, log.result),
            (4_294_967_295, 0, -2, 0)
        );
    }
}
