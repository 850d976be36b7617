//! Ethernet frames on a line, as far as a rule for losing some of them must understand them.

/// Where a frame is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toward {
    Host,
    Switch,
}

/// A frame about to be forwarded.
pub struct Frame<'a> {
    pub toward: Toward,
    pub bytes: &'a [u8],
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Pass,
    Lose,
    /// It arrives two times in a row.
    Double,
    /// It arrives behind the next few frames, or a little later when there are none.
    Delay,
}

impl Frame<'_> {
    /// UDP, a later fragment of a datagram included.
    pub fn is_udp(&self) -> bool {
        const UDP: u8 = 17;
        let byte = |at: usize| self.bytes.get(at).copied();
        match self.bytes.get(12..14) {
            Some([0x08, 0x00]) => byte(23) == Some(UDP),
            Some([0x86, 0xdd]) => match byte(20) {
                Some(FRAGMENT) => byte(54) == Some(UDP),
                next => next == Some(UDP),
            },
            _ => false,
        }
    }

    /// Addressed to a group.
    pub fn is_to_group(&self) -> bool {
        self.bytes.first().is_some_and(|first| first & 1 != 0)
    }

    /// What a datagram carries; `None` for later fragments of one and for all that is not UDP.
    pub fn datagram(&self) -> Option<&[u8]> {
        let is_v4 = self.bytes.get(12..14)? == [0x08, 0x00];
        let (fragment, header) = match (is_v4, self.bytes.get(20)?) {
            (true, _) => (14 + 6, usize::from(self.bytes[14] & 0x0f) * 4),
            (false, &FRAGMENT) => (54 + 2, 48),
            (false, _) => return self.bytes.get(62..).filter(|_| self.is_udp()),
        };
        let field = u16::from_be_bytes(self.bytes.get(fragment..fragment + 2)?.try_into().ok()?);
        let offset = if is_v4 { field & 0x1fff } else { field >> 3 };
        let is_first = self.is_udp() && offset == 0;
        self.bytes.get(14 + header + 8..).filter(|_| is_first)
    }

    /// LocationId of a Data packet (`docs/protocol/mmsp.md` §3).
    pub fn location(&self) -> Option<u32> {
        let bytes = self.datagram()?.get(..4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }
}

/// Next header of IPv6: a fragment.
const FRAGMENT: u8 = 44;

/// Loses this share of the datagrams toward the host; the same ones in every run with the same traffic.
pub fn lose(share: f64, seed: u64) -> impl FnMut(&Frame<'_>) -> Fate + Send + 'static {
    let mut random = fastrand::Rng::with_seed(seed);
    move |frame| {
        if frame.toward == Toward::Host && frame.is_udp() && random.f64() < share {
            Fate::Lose
        } else {
            Fate::Pass
        }
    }
}

/// A bad day: of the datagrams toward the host this share is lost, one in a hundred is doubled and three are delayed,
/// and of those toward the switch the same share is lost.
pub fn rough(share: f64, seed: u64) -> impl FnMut(&Frame<'_>) -> Fate + Send + 'static {
    let mut random = [seed, !seed].map(fastrand::Rng::with_seed);
    move |frame| {
        if !frame.is_udp() {
            return Fate::Pass;
        }
        let to_host = frame.toward == Toward::Host;
        let drawn = random[usize::from(to_host)].f64();
        match drawn - share {
            ..0.0 => Fate::Lose,
            0.0..0.01 if to_host => Fate::Double,
            0.01..0.04 if to_host => Fate::Delay,
            _ => Fate::Pass,
        }
    }
}

/// Loses all datagrams, both ways: what a firewall does that lets only TCP through.
pub fn no_udp(frame: &Frame<'_>) -> Fate {
    if frame.is_udp() {
        Fate::Lose
    } else {
        Fate::Pass
    }
}
