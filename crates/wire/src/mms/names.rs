//! The small grammars inside MMS strings: who the client is, where it wants its data, what it wants to see.
//!
//! All lenient: players differ, and nobody is refused for a name (section 5.1).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Longest path accepted in OpenFile (section 5.8); longer ones are answered 0x80070057.
pub const PATH_CHARACTERS_MAX: usize = 2048;

/// `subscriberName` of Connect, §5.1:
/// `client-token [ "; Host: " host ] NUL [ "HOST: " host NUL ] [ "VIA: " products NUL ]`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SubscriberName {
    /// `NSPlayer/9.0.0.2980`, `Spoooon!`, or whatever stood before the first `;`.
    pub product: String,
    /// Text between braces. Several players send a constant.
    pub guid: Option<String>,
    /// Host name (and port) by which the client reached the server; never to be trusted.
    pub host: Option<String>,
    /// Proxies on the way.
    pub via: Option<String>,
}

impl SubscriberName {
    /// Takes the text apart; anything is accepted.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split('\0');
        let mut fields = parts.next().unwrap_or_default().split(';').map(str::trim);
        let mut name = Self {
            product: fields.next().unwrap_or_default().to_owned(),
            ..Self::default()
        };
        for field in fields {
            if let Some(guid) = field.strip_prefix('{') {
                name.guid = Some(guid.trim_end_matches('}').to_owned());
            } else if let Some(host) = strip_prefix_ignoring_case(field, "host:") {
                name.host = Some(host.trim().to_owned());
            }
        }
        for part in parts {
            if let Some(host) = strip_prefix_ignoring_case(part, "host:") {
                name.host.get_or_insert_with(|| host.trim().to_owned());
            } else if let Some(via) = strip_prefix_ignoring_case(part, "via:") {
                name.via = Some(via.trim().to_owned());
            }
        }
        name
    }

    /// Major and minor of `NSPlayer/<major>.<minor>`.
    pub fn player_version(&self) -> Option<(u16, u16)> {
        let version = strip_prefix_ignoring_case(&self.product, "nsplayer/")?;
        let mut numbers = version
            .split('.')
            .map(|part| part.trim().parse::<u16>().ok());
        Some((numbers.next()??, numbers.next().flatten().unwrap_or(0)))
    }

    /// Windows Media Services 4.x pulling for redistribution: `Spoooon!`, spelled with four or five "o".
    pub fn is_distribution_server(&self) -> bool {
        self.product.starts_with("Spo")
    }
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

/// How the Data packets travel.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Transport {
    /// On the control connection.
    Tcp,
    /// As datagrams to this port of the client's TCP address.
    Udp {
        /// 1–65535.
        port: u16,
    },
}

/// `funnelName` of ConnectFunnel, §5.5: `\\ip\TCP\port` or `\\ip\UDP\port`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FunnelName {
    /// What the client believes its address is: fiction, only for telling players apart.
    pub address: String,
    /// TCP or UDP; for TCP the port is fiction and not kept.
    pub transport: Transport,
}

/// Why a funnel name cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// Not `\\address\PROTOCOL\port`.
    #[error("not a funnel name")]
    Shape,
    /// Neither TCP nor UDP.
    #[error("unknown transport in funnel name")]
    Transport,
    /// UDP without a port from 1 to 65535.
    #[error("no usable port in funnel name")]
    Port,
}

impl FunnelName {
    /// Reads the name; text behind a U+0000 is ignored (VLC and xine leave a stray `0` there).
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.split('\0').next().unwrap_or_default().trim();
        let mut parts = text
            .strip_prefix(r"\\")
            .ok_or(NameError::Shape)?
            .rsplitn(3, '\\');
        let (Some(port), Some(protocol), Some(address)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(NameError::Shape);
        };
        let transport = if protocol.eq_ignore_ascii_case("tcp") {
            Transport::Tcp
        } else if protocol.eq_ignore_ascii_case("udp") {
            let port = port
                .trim()
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or(NameError::Port)?;
            Transport::Udp { port }
        } else {
            return Err(NameError::Transport);
        };
        Ok(Self {
            address: address.to_owned(),
            transport,
        })
    }
}

/// `fileName` of OpenFile, §5.8. Some players decode the URL before sending, some do not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Path {
    /// As received.
    pub raw: String,
}

impl Path {
    /// Takes over what came off the wire.
    pub fn new(raw: impl Into<String>) -> Self {
        Self { raw: raw.into() }
    }

    /// Names to look up, most literal first, without duplicates: as received, without the query, percent-decoded. None
    /// has a leading slash.
    pub fn candidates(&self) -> Vec<String> {
        let literal = self.raw.strip_prefix('/').unwrap_or(&self.raw);
        let plain = literal.split('?').next().unwrap_or_default();
        let decoded: Cow<'_, str> = percent_decode_str(plain).decode_utf8_lossy();
        let mut names: Vec<String> = Vec::with_capacity(3);
        for name in [literal, plain, &decoded] {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// What follows the first `?`: player modifiers such as `WMBitrate=…`.
    pub fn query(&self) -> Option<&str> {
        self.raw.split_once('?').map(|(_, query)| query)
    }

    /// Is it longer than [`PATH_CHARACTERS_MAX`] UTF-16 units?
    pub fn is_too_long(&self) -> bool {
        self.raw.encode_utf16().nth(PATH_CHARACTERS_MAX).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriber_names_of_section_5_1() {
        let wmp = SubscriberName::parse(
            "NSPlayer/9.0.0.2980; {3300AD50-2C39-46C0-AE0A-0123456789AB}; Host: 127.0.0.1",
        );
        assert_eq!(wmp.product, "NSPlayer/9.0.0.2980");
        assert_eq!(
            wmp.guid.as_deref(),
            Some("3300AD50-2C39-46C0-AE0A-0123456789AB")
        );
        assert_eq!(wmp.host.as_deref(), Some("127.0.0.1"));
        assert_eq!(wmp.player_version(), Some((9, 0)));
        assert!(!wmp.is_distribution_server());

        let old = SubscriberName::parse(
            "NSPlayer/4.1.0.3856; {X}\0HOST: radio.example:1755\0VIA: 1.1 cache\0",
        );
        assert_eq!(old.host.as_deref(), Some("radio.example:1755"));
        assert_eq!(old.via.as_deref(), Some("1.1 cache"));
        assert_eq!(old.player_version(), Some((4, 1)));

        for server in ["Spoooon!", "Spooooon!"] {
            assert!(SubscriberName::parse(server).is_distribution_server());
        }
        assert_eq!(SubscriberName::parse(""), SubscriberName::default());
        assert_eq!(SubscriberName::parse("NSPlayer/x").player_version(), None);
        assert_eq!(SubscriberName::parse("é;Höst: x").product, "é");
    }

    fn funnel(text: &str) -> Result<(String, Transport), NameError> {
        FunnelName::parse(text).map(|name| (name.address, name.transport))
    }

    #[test]
    fn funnel_names_of_section_5_5_and_4_1() {
        assert_eq!(
            funnel(r"\\192.168.0.129\TCP\1037"),
            Ok(("192.168.0.129".into(), Transport::Tcp))
        );
        assert_eq!(
            funnel(r"\\::1\UDP\7000"),
            Ok(("::1".into(), Transport::Udp { port: 7000 }))
        );
        assert_eq!(
            funnel("\\\\127.0.0.1\\udp\\7000\u{0}0"),
            Ok(("127.0.0.1".into(), Transport::Udp { port: 7000 }))
        );
        assert_eq!(
            funnel(r"\\x\Tcp\nonsense"),
            Ok(("x".into(), Transport::Tcp)),
            "only the protocol word counts"
        );
        assert_eq!(funnel(r"\\x\UDP\0"), Err(NameError::Port));
        assert_eq!(funnel(r"\\x\UDP\65536"), Err(NameError::Port));
        assert_eq!(funnel(r"\\x\SCTP\1"), Err(NameError::Transport));
        assert_eq!(funnel(r"\\x\TCP"), Err(NameError::Shape));
        assert_eq!(funnel(""), Err(NameError::Shape));
    }

    #[test]
    fn paths_are_tried_as_received_then_decoded() {
        let raw = Path::new("/a%20b/%C3%A9.asf?x=1");
        assert_eq!(
            raw.candidates(),
            ["a%20b/%C3%A9.asf?x=1", "a%20b/%C3%A9.asf", "a b/é.asf"]
        );
        assert_eq!(raw.query(), Some("x=1"));
        assert_eq!(
            Path::new("a b/é.asf?x=1").candidates(),
            ["a b/é.asf?x=1", "a b/é.asf"]
        );
        assert_eq!(Path::new("live").candidates(), ["live"]);
        assert_eq!(Path::new("").candidates(), [""]);
        assert!(!Path::new("x".repeat(2048)).is_too_long());
        assert!(Path::new("x".repeat(2049)).is_too_long());
    }
}
