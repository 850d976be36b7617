//! The error correction of a group: the place of each data packet, and the parity packet behind the last of its span.
//!
//! The parity is a running XOR, so nothing of the packets is kept. See `docs/protocol/msb-nsc.md` §3.

use funnel_wire::msb::{Correction, HEADER_BYTES, Packet, Place, Span, StreamId};

/// Bytes of a datagram before the part of an ASF packet that is the same for all receivers of a channel.
pub(super) const HEAD_BYTES: usize = HEADER_BYTES + Correction::BYTES;

/// The open cycle. Without a span, packets belong to none and no parity is made.
#[derive(Debug)]
pub(super) struct Cycle {
    span: Option<Span>,
    cycle: u8,
    /// Data packets in it so far.
    packets: u8,
    /// Of the bytes behind their error correction parts; as long as the longest of them.
    sum: Vec<u8>,
}

impl Cycle {
    pub(super) fn new(span: Option<Span>) -> Self {
        Self {
            span,
            cycle: 0,
            packets: 0,
            sum: Vec::new(),
        }
    }

    /// Makes room for packets of up to so many bytes, so that [`Cycle::add`] needs no memory.
    pub(super) fn reserve(&mut self, packet_bytes: usize) {
        if self.span.is_some() {
            self.sum
                .reserve_exact(packet_bytes.saturating_sub(self.sum.len()));
        }
    }

    /// Takes the next data packet: `rest` is what follows its error correction part, which is to be the one returned.
    pub(super) fn add(&mut self, rest: &[u8]) -> Correction {
        if self.span.is_none() {
            return Correction::None;
        }
        if self.sum.len() < rest.len() {
            self.sum.resize(rest.len(), 0);
        }
        for (sum, byte) in self.sum.iter_mut().zip(rest) {
            *sum ^= byte;
        }
        self.packets += 1;
        Correction::Data(Place {
            number: self.packets,
            cycle: self.cycle,
        })
    }

    /// Whether the parity packet is next.
    pub(super) fn is_full(&self) -> bool {
        self.span.is_some_and(|span| self.packets >= span.get())
    }

    /// Whether there are data packets without parity.
    pub(super) fn is_open(&self) -> bool {
        self.packets > 0
    }

    /// Bytes of the datagram [`Cycle::close`] writes.
    pub(super) fn parity_bytes(&self) -> usize {
        HEAD_BYTES + self.sum.len()
    }

    /// Writes the parity datagram, behind the data packet `id`, and begins the next cycle. `out` has [`Cycle::parity_bytes`].
    pub(super) fn close(&mut self, id: u32, stream: StreamId, out: &mut [u8]) {
        let place = Place {
            number: self.packets + 1,
            cycle: self.cycle,
        };
        let (header, asf) = out.split_at_mut(HEADER_BYTES);
        let (correction, sum) = asf.split_at_mut(Correction::BYTES);
        correction.copy_from_slice(&Correction::Parity(place).encode());
        sum.copy_from_slice(&self.sum);
        let packet = Packet { id, stream, asf };
        header.copy_from_slice(
            &packet
                .header()
                .expect("no longer than the longest data packet, which had a header"),
        );
        self.packets = 0;
        self.sum.clear();
        self.cycle = self.cycle.wrapping_add(1);
    }
}
