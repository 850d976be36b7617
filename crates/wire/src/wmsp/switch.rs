//! `stream-switch-entry`: which streams a viewer wants, and how much of each (§4).

/// One `source:target:level`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SwitchEntry {
    /// The stream that is replaced; `None`: none is.
    pub source: Option<StreamNumber>,
    /// The stream that is wanted, or not.
    pub target: Option<StreamNumber>,
    /// How much of it.
    pub level: Level,
}

impl SwitchEntry {
    /// Reads entries separated by blanks; what is none is left out.
    pub fn parse_list(text: &str) -> impl Iterator<Item = Self> {
        text.split_ascii_whitespace().filter_map(Self::parse)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        Some(Self {
            source: StreamNumber::parse(parts.next()?)?,
            target: StreamNumber::parse(parts.next()?)?,
            level: Level::parse(parts.next()?)?,
        })
    }
}

/// How much of a stream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Level {
    /// 0: everything.
    #[default]
    All,
    /// 1: key frames only.
    KeyFrames,
    /// 2: nothing.
    Off,
}

impl Level {
    /// What is not known means everything. Digits at the start count (ffmpeg leaves out a line end).
    fn parse(text: &str) -> Option<Self> {
        match text.as_bytes().first()? {
            b'1' => Some(Self::KeyFrames),
            b'2' => Some(Self::Off),
            digit => digit.is_ascii_digit().then_some(Self::All),
        }
    }
}

/// A stream number that may have been written in hexadecimal or in decimal: players differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StreamNumber {
    hexadecimal: u16,
    /// `None`: it has letters in it.
    decimal: Option<u16>,
}

impl StreamNumber {
    /// The number that names a stream which `exists`, read first as the specification says or first as others do: hexadecimal
    /// for players from version 8 on, decimal for the rest.
    pub fn resolve(self, hexadecimal_first: bool, exists: impl Fn(u16) -> bool) -> Option<u16> {
        let mut readings = [Some(self.hexadecimal), self.decimal];
        if !hexadecimal_first {
            readings.reverse();
        }
        readings
            .into_iter()
            .flatten()
            .find(|number| exists(*number))
    }

    /// The outer `None`: not a number; the inner one: `ffff`, no stream.
    fn parse(text: &str) -> Option<Option<Self>> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let hexadecimal = u16::from_str_radix(text, 16).ok().filter(|_| is_plain)?;
        let number = Self {
            hexadecimal,
            decimal: text.parse().ok(),
        };
        Some((hexadecimal != u16::MAX).then_some(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str, hexadecimal_first: bool, streams: &[u16]) -> Vec<(Option<u16>, Level)> {
        SwitchEntry::parse_list(text)
            .map(|entry| {
                let target = entry.target.and_then(|number| {
                    number.resolve(hexadecimal_first, |number| streams.contains(&number))
                });
                (target, entry.level)
            })
            .collect()
    }

    #[test]
    fn entries_of_real_players() {
        let both = [(Some(1), Level::All), (Some(2), Level::Off)];
        assert_eq!(resolved("ffff:1:0 ffff:2:2 ", false, &[1, 2]), both);
        assert_eq!(resolved("FFFF:1:0  1:2:2", true, &[1, 2]), both);
        let entry = SwitchEntry::parse_list("3:ffff:1").next().unwrap();
        assert_eq!((entry.target, entry.level), (None, Level::KeyFrames));
        assert!(entry.source.is_some());
    }

    #[test]
    fn numbers_from_10_on_are_read_as_the_streams_are() {
        let target = |text, first, streams: &[u16]| resolved(text, first, streams)[0].0;
        assert_eq!(target("ffff:10:0", true, &[10, 16]), Some(16));
        assert_eq!(target("ffff:10:0", false, &[10, 16]), Some(10));
        assert_eq!(target("ffff:10:0", true, &[10]), Some(10));
        assert_eq!(target("ffff:10:0", false, &[16]), Some(16));
        assert_eq!(target("ffff:a:0", false, &[10]), Some(10));
        assert_eq!(target("ffff:a:0", false, &[11]), None);
    }

    #[test]
    fn what_is_no_entry_is_left_out() {
        let text = "1:2 x:1:0 +1:1:0 ffff:1:x :1:0 ffff:12345:0 ffff:2:0Connection: Close";
        let streams = [1, 2];
        assert_eq!(resolved(text, true, &streams), [(Some(2), Level::All)]);
    }
}
