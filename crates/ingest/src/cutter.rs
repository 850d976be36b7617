//! One pass over a file's bytes: header, then its packets, and where they stop.
//!
//! A live source says itself when it is over; a file on disk may be cut off, or carry an index behind its packets that only the Data
//! Object's size tells apart. Pure: whoever reads the file pushes its bytes, from the first on.

use funnel_asf::{DeframeError, Deframer, Header, Item, data_packets};

/// Cuts a file into packets.
#[derive(Debug)]
pub(crate) struct Cutter {
    deframer: Deframer,
    file_bytes: u64,
    pushed_bytes: u64,
    framed: bool,
    header: Option<Header>,
    packets_left: u64,
    over: bool,
}

impl Cutter {
    /// For a file of this size.
    pub(crate) fn new(file_bytes: u64) -> Self {
        Self {
            deframer: Deframer::new(),
            file_bytes,
            pushed_bytes: 0,
            framed: false,
            header: None,
            packets_left: u64::MAX,
            over: false,
        }
    }

    /// Takes the next bytes; none left to push when the file is shorter than said.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.pushed_bytes == 0 {
            self.framed = bytes.first() == Some(&b'$');
        }
        self.pushed_bytes += bytes.len() as u64;
        self.deframer.push(bytes);
        if bytes.is_empty() || self.pushed_bytes >= self.file_bytes {
            self.deframer.finish();
        }
    }

    /// The next packet, as it stands in the file; `None` when more bytes are needed or the packets are over.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, DeframeError> {
        while self.header.is_none() && !self.over {
            match self.deframer.next()? {
                Some(Item::Header(header)) => self.begin(header),
                Some(_) => self.over = true,
                None => return Ok(None),
            }
        }
        if self.over || self.packets_left == 0 {
            self.over = true;
            return Ok(None);
        }
        match self.deframer.next()? {
            Some(Item::Packet(packet)) => {
                self.packets_left -= 1;
                Ok(Some(packet))
            }
            // A file is one show: what follows a second header cannot go on under the first.
            Some(Item::Header(_) | Item::End) => {
                self.over = true;
                Ok(None)
            }
            None => {
                self.over = self.pushed_bytes >= self.file_bytes;
                Ok(None)
            }
        }
    }

    /// The header, once it was there.
    pub(crate) fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Whether no packet will come any more.
    pub(crate) fn is_over(&self) -> bool {
        self.over || (self.pushed_bytes >= self.file_bytes && self.header.is_none())
    }

    /// Bytes taken so far.
    pub(crate) fn position(&self) -> u64 {
        self.pushed_bytes
    }

    fn begin(&mut self, header: Header) {
        if !self.framed {
            self.packets_left = data_packets(&header, self.file_bytes, header.data_object_size());
        }
        self.header = Some(header);
    }
}
