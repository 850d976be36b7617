//! Who is speaking: `User-Agent` and `Server` of the family (§2.2). Behaviour hangs on the version.

/// A program of the family, or one that imitates it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Product {
    /// `NSPlayer`: a player.
    Player,
    /// `NSServer`: a relay, or a server that pulls.
    Server,
    /// `WMCacheProxy`: a caching proxy.
    CacheProxy,
    /// `WMEncoder`: an encoder that pushes.
    Encoder,
    /// `Cougar`: a streaming server.
    Cougar,
    /// `Rex`: an encoder that is pulled.
    Rex,
}

/// `product/major.minor…`, of `User-Agent` or of `Server`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct UserAgent {
    /// Which program.
    pub product: Product,
    /// 4 to 12.
    pub major: u16,
    /// Minor version; 0 if there is none.
    pub minor: u16,
}

impl UserAgent {
    /// Reads the first word and its version, behind a slash or a blank. `None`: nobody of the family.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_start();
        let (product, version) = PRODUCTS.iter().find_map(|(token, product)| {
            let head = text.get(..token.len())?;
            let version = text.get(token.len()..)?;
            let is_whole = version.is_empty() || version.starts_with(['/', ' ', ';', ',']);
            (head.eq_ignore_ascii_case(token) && is_whole).then_some((*product, version))
        })?;
        let version = version.get(1..).unwrap_or_default();
        let mut numbers = version.split('.').map(leading_number);
        Some(Self {
            product,
            major: numbers.next().unwrap_or_default(),
            minor: numbers.next().unwrap_or_default(),
        })
    }

    /// Whether the version is this one or a later one.
    pub fn is_at_least(&self, major: u16, minor: u16) -> bool {
        (self.major, self.minor) >= (major, minor)
    }

    /// Whether it asks for streams: a player, a relay or a proxy.
    pub fn is_viewer(&self) -> bool {
        matches!(
            self.product,
            Product::Player | Product::Server | Product::CacheProxy
        )
    }
}

const PRODUCTS: [(&str, Product); 6] = [
    ("NSPlayer", Product::Player),
    ("NSServer", Product::Server),
    ("WMCacheProxy", Product::CacheProxy),
    ("WMEncoder", Product::Encoder),
    ("Cougar", Product::Cougar),
    ("Rex", Product::Rex),
];

fn leading_number(text: &str) -> u16 {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.get(..end)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_of_section_2_2() {
        for (text, expected) in [
            ("NSPlayer/4.1.0.3856", Some((Product::Player, 4, 1))),
            ("NSPlayer/7.10.0.3059", Some((Product::Player, 7, 10))),
            (
                "NSPlayer/12.0.7601.17514; via WMCacheProxy x/1",
                Some((Product::Player, 12, 0)),
            ),
            ("nsserver/9.0.0.3171", Some((Product::Server, 9, 0))),
            ("NSServer/1.0,something", Some((Product::Server, 1, 0))),
            ("WMCacheProxy/9.5", Some((Product::CacheProxy, 9, 5))),
            ("WMEncoder/12.0.7600", Some((Product::Encoder, 12, 0))),
            ("Cougar 4.1.0.3857", Some((Product::Cougar, 4, 1))),
            ("Cougar/9.5.6001.18281", Some((Product::Cougar, 9, 5))),
            ("Rex/12", Some((Product::Rex, 12, 0))),
            ("NSPlayer", Some((Product::Player, 0, 0))),
            ("NSPlayer/x", Some((Product::Player, 0, 0))),
            ("NSPlayer/99999.1", Some((Product::Player, 0, 1))),
            ("NSPlayerX/9.0", None),
            ("Lavf/59.27.100", None),
            ("Rexüx", None),
            ("", None),
        ] {
            let agent =
                UserAgent::parse(text).map(|agent| (agent.product, agent.major, agent.minor));
            assert_eq!(agent, expected, "{text}");
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let vlc = UserAgent::parse("NSPlayer/7.10.0.3059").unwrap();
        assert!(vlc.is_at_least(7, 2) && !vlc.is_at_least(8, 0));
        assert!(vlc.is_viewer());
        assert!(!UserAgent::parse("WMEncoder/9.0").unwrap().is_viewer());
    }
}
