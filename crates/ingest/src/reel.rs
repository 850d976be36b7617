//! A file as a channel would send it, packet by packet, for who pushes it to another server.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::Path,
};

use funnel_asf::{Header, Normaliser};

use crate::{
    cutter::Cutter,
    inspect::{CHUNK_BYTES, InspectError, inspect},
};

/// A media file, read once or over and over without a seam. Blocks while it reads.
#[derive(Debug)]
pub struct Reel {
    file: File,
    file_bytes: u64,
    looped: bool,
    header: Header,
    cutter: Cutter,
    normaliser: Normaliser,
    chunk: Vec<u8>,
    /// Packets of this pass so far.
    packets: u64,
}

/// A packet and its time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReelPacket {
    /// Full size, repaired.
    pub bytes: Vec<u8>,
    /// When it belongs on the line, ms on a timeline that goes on over loops.
    pub send_ms: u64,
}

impl Reel {
    /// Looks the file through, then stands at its beginning.
    ///
    /// # Errors
    /// When it could not be served.
    pub fn open(path: impl AsRef<Path>, looped: bool) -> Result<Self, InspectError> {
        let path = path.as_ref();
        let failed = |source| InspectError::Read {
            path: path.to_owned(),
            at: 0,
            source,
        };
        let inspection = inspect(path)?;
        let file = File::open(path).map_err(failed)?;
        let file_bytes = file.metadata().map_err(failed)?.len();
        Ok(Self {
            file,
            file_bytes,
            looped,
            normaliser: Normaliser::new(&inspection.header),
            header: inspection.live.header,
            cutter: Cutter::new(file_bytes),
            chunk: vec![0; CHUNK_BYTES],
            packets: 0,
        })
    }

    /// The header for these packets, of a live show.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next packet; `None` behind the last one. Damaged packets are left out.
    ///
    /// # Errors
    /// The file cannot be read, or has changed and is no media any more.
    pub fn next_packet(&mut self) -> io::Result<Option<ReelPacket>> {
        loop {
            while let Some(raw) = self.cutter.next().map_err(io::Error::other)? {
                if let Ok(Some(ready)) = self.normaliser.packet(raw) {
                    self.packets += 1;
                    return Ok(Some(ReelPacket {
                        bytes: ready.full.to_vec(),
                        send_ms: ready.meta.send_ms,
                    }));
                }
            }
            if !self.cutter.is_over() {
                let count = self.file.read(&mut self.chunk)?;
                self.cutter.push(&self.chunk[..count]);
            } else if self.looped && self.packets > 0 {
                self.packets = 0;
                self.file.rewind()?;
                self.cutter = Cutter::new(self.file_bytes);
                self.normaliser.next_pass();
            } else {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn media(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../testdata/media")
            .join(name)
    }

    #[test]
    fn a_file_is_read_once_with_rising_times() {
        let path = media("av-300k.wmv");
        let expected = inspect(&path).expect("test media").survey.packets;
        let mut reel = Reel::open(&path, false).expect("test media");
        let size = reel.header().packet_bytes() as usize;
        let (mut count, mut last) = (0, 0);
        while let Some(packet) = reel.next_packet().expect("readable") {
            assert_eq!(packet.bytes.len(), size);
            assert!(packet.send_ms >= last);
            (last, count) = (packet.send_ms, count + 1);
        }
        assert_eq!(count, expected);
        assert_eq!(reel.next_packet().expect("readable"), None, "it stays over");
    }

    #[test]
    fn a_loop_has_no_seam() {
        let path = media("tiny-audio.asf");
        let once = inspect(&path).expect("test media").survey;
        let mut reel = Reel::open(&path, true).expect("test media");
        let mut last = 0;
        for _ in 0..once.packets * 5 / 2 {
            let packet = reel.next_packet().expect("readable").expect("endless");
            assert!((last..last + 2000).contains(&packet.send_ms));
            last = packet.send_ms;
        }
        assert!(last > 2 * once.duration_ms - 2000);
    }
}
