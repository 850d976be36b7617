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
        const FRAGMENT: u8 = 44;
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
}

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

/// Loses all datagrams, both ways: what a firewall does that lets only TCP through.
pub fn no_udp(frame: &Frame<'_>) -> Fate {
    if frame.is_udp() {
        Fate::Lose
    } else {
        Fate::Pass
    }
}
