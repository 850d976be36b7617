//! The packets of a channel for one stream selection, shared by every viewer who chose it.
//!
//! Takes normalised packets and drops payloads (`docs/protocol/asf.md` §11.3): of streams that are off, of objects
//! without a key bit where a stream is thinned, and of video streams until their first key frame, so that a newly
//! enabled stream begins cleanly (§12.2). Send times, object numbers and order stay.

use crate::header::Header;
use crate::packet::{Fit, Layout, PacketError, all_payloads, compose};
use crate::selection::{Selection, Thinning, stream_bit};
use crate::shape::{Ready, Shaper};

/// Filters the packets of one channel by one selection.
#[derive(Debug)]
pub struct Filter {
    selection: Selection,
    /// Streams whose first whole object has passed.
    begun: u128,
    send_ms: Option<u64>,
    shaper: Shaper,
    full: Vec<u8>,
}

impl Filter {
    /// `header` is the channel's, as it goes out: its packet size is that of the packets given.
    pub fn new(header: &Header, selection: Selection) -> Filter {
        let packet_bytes = header.packet_bytes() as usize;
        let selection = selection.within(header.stream_mask());
        Filter {
            selection,
            begun: 0,
            send_ms: None,
            shaper: Shaper::new(header, selection.streams(), packet_bytes),
            full: Vec::with_capacity(packet_bytes),
        }
    }

    /// Tells the 64-bit send time of the next packet: packets hold only its low 32 bits. Without it the clock counts
    /// from the first packet's 32 bits.
    pub fn set_clock(&mut self, send_ms: u64) {
        self.send_ms = Some(send_ms);
    }

    /// Filters one full packet. `None`: nothing of it is left; its number is consumed all the same.
    ///
    /// # Errors
    /// The packet is damaged, which one from the normaliser never is.
    pub fn packet(&mut self, full: &[u8]) -> Result<Option<Ready<'_>>, PacketError> {
        let layout = Layout::parse(full)?;
        let send_ms = self.clock(layout.send_ms());
        self.shaper.observe(full, &layout, send_ms);
        let keep = self.choose(&layout, send_ms);
        if keep == 0 {
            return Ok(None);
        }
        if keep == all_payloads(&layout) {
            self.full.clear();
            self.full.extend_from_slice(full);
            return Ok(Some(self.shaper.shape(&self.full, &layout, send_ms)));
        }
        compose(full, &layout, keep, Fit::Padded(full.len()), &mut self.full)?;
        let layout = Layout::parse(&self.full)?;
        Ok(Some(self.shaper.shape(&self.full, &layout, send_ms)))
    }

    fn choose(&mut self, layout: &Layout, send_ms: u64) -> u64 {
        let mut keep = 0;
        for (position, payload) in layout.payloads().iter().enumerate() {
            let bit = stream_bit(payload.stream());
            let wanted = match self.selection.level(payload.stream()) {
                Thinning::All => true,
                Thinning::KeyFramesOnly => payload.is_key(),
                Thinning::Off => false,
            };
            if wanted && (self.begun & bit != 0 || self.shaper.may_start(payload, send_ms)) {
                self.begun |= bit;
                keep |= 1 << position;
            }
        }
        keep
    }

    fn clock(&mut self, send_ms: u32) -> u64 {
        let now = match self.send_ms {
            // Send times of a channel never go back.
            Some(latest) => {
                latest
                    + u64::from(
                        send_ms
                            .wrapping_sub(latest as u32)
                            .cast_signed()
                            .max(0)
                            .cast_unsigned(),
                    )
            }
            None => u64::from(send_ms),
        };
        self.send_ms = Some(now);
        now
    }
}
