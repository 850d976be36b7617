//! Where to begin with a stream that one falls into: at the start of a picture that needs no other.
//!
//! A server lets its viewers begin there. In a multicast one begins anywhere, and what comes before cannot be decoded.

use std::time::{Duration, Instant};

use funnel_asf::{Header, Layout};

/// Waits for the place.
#[derive(Debug)]
pub struct Entry {
    video: u128,
    give_up_at: Instant,
}

impl Entry {
    /// `None` if any packet will do: there is no video.
    pub fn new(header: &[u8], now: Instant) -> Option<Self> {
        let header = Header::parse(header).ok()?;
        let streams = header.streams().iter().filter(|stream| stream.is_video());
        let video = streams.fold(0, |mask, stream| mask | 1 << stream.number);
        (video != 0).then(|| Self {
            video,
            give_up_at: now + PATIENCE,
        })
    }

    /// Whether to begin with this packet.
    pub fn is_here(&self, packet: &[u8], now: Instant) -> bool {
        let Ok(layout) = Layout::parse(packet) else {
            return false;
        };
        now >= self.give_up_at
            || layout.payloads().iter().any(|payload| {
                payload.is_key()
                    && payload.starts_object()
                    && self.video >> payload.stream() & 1 != 0
            })
    }
}

/// Some encoders mark no key frames at all.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_frame_or_after_a_while_anything() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/media/");
        let now = Instant::now();
        let show = |name: &str| {
            let bytes = std::fs::read(format!("{folder}{name}")).expect("test media");
            let header = Header::parse(&bytes).expect("a sound header");
            let packets =
                bytes[header.bytes().len()..].chunks_exact(header.packet_bytes() as usize);
            let packets: Vec<Vec<u8>> = packets.map(<[u8]>::to_vec).collect();
            (header.bytes().to_vec(), packets)
        };
        let (header, packets) = show("av-300k.wmv");
        let entry = Entry::new(&header, now).expect("it has video");
        assert!(entry.is_here(&packets[0], now));
        let places = packets.iter().filter(|packet| entry.is_here(packet, now));
        let count = places.count();
        assert!(
            (2..packets.len() / 4).contains(&count),
            "{count} of {}",
            packets.len()
        );
        let inside = packets.iter().find(|packet| !entry.is_here(packet, now));
        let inside = inside.expect("most of them");
        assert!(!entry.is_here(inside, now + Duration::from_secs(19)));
        assert!(entry.is_here(inside, now + Duration::from_secs(20)));
        assert!(!entry.is_here(b"no packet", now + Duration::from_secs(20)));
        assert!(Entry::new(&show("audio-64k.wma").0, now).is_none());
    }
}
