//! One segment of a log: a fixed number of packet slots and the bytes they point to.
//!
//! Slots hold one cache line of metadata each; bodies are laid one behind the other into an arena with room for all four forms of every
//! packet. The arena is allocated but not touched beforehand, so its unused end costs address space, not memory. Who may read or write
//! a slot, and when, is the business of `log.rs` and `publisher.rs`: here the rules are only stated.

use std::{mem::MaybeUninit, ptr, slice};

use crate::sync::UnsafeCell;

/// Forms a packet may be stored in: full, stripped, join, join stripped.
pub(crate) const FORMS_COUNT: usize = 4;

/// Stands for "no clean point yet" in [`Meta::clean_point`].
pub(crate) const NO_CLEAN_POINT: u64 = u64::MAX;

/// What is known about one packet: exactly one cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Meta {
    /// Where each form lies; a form that was not given points where its nearest substitute does.
    pub(crate) bodies: [Span; FORMS_COUNT],
    /// Position on the channel's timeline in ms.
    pub(crate) send_ms: u64,
    /// Time of publication in ns after the log was made.
    pub(crate) published_ns: u64,
    /// The newest clean point at or before this packet, or [`NO_CLEAN_POINT`].
    pub(crate) clean_point: u64,
    /// Spread due time minus send time, in ms.
    pub(crate) due_after_ms: i32,
    /// [`PRESENT`] and [`JOIN_DONE`].
    pub(crate) flags: u32,
}

const _: () = assert!(size_of::<Meta>() == 64);

/// The packet has bytes (it was not published as absent).
pub(crate) const PRESENT: u32 = 1;
/// From the next packet on a joiner takes the ordinary forms.
pub(crate) const JOIN_DONE: u32 = 2;

/// A byte range of the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) offset: u32,
    pub(crate) size: u32,
}

/// Slots and arena. Shared with readers; all mutation goes through cells and raw pointers under the log's protocol.
pub(crate) struct Segment {
    slots: Box<[UnsafeCell<Meta>]>,
    arena: *mut u8,
    arena_bytes: usize,
}

// SAFETY: a segment owns its arena; every access from another thread goes through `read_meta`, `body` and `write`, whose callers keep
// readers and the writer apart in time (see `log.rs`).
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

impl Segment {
    /// A segment for `packets` packets whose arena holds `arena_bytes`. Allocates; touches only the slots.
    pub(crate) fn new(packets: usize, arena_bytes: usize) -> Self {
        let arena: Box<[MaybeUninit<u8>]> = Box::new_uninit_slice(arena_bytes);
        Self {
            slots: (0..packets)
                .map(|_| UnsafeCell::new(Meta::default()))
                .collect(),
            arena: Box::into_raw(arena).cast(),
            arena_bytes,
        }
    }

    /// Writes `bodies` one behind the other at `offset` and `meta` (its spans already set) into slot `index`.
    ///
    /// # Safety
    /// The caller is the log's only writer, and no reader can reach this slot: it is not published, or it lies below `head` and every pin.
    pub(crate) unsafe fn write(
        &self,
        index: usize,
        meta: Meta,
        offset: usize,
        bodies: [&[u8]; FORMS_COUNT],
    ) {
        let total: usize = bodies.iter().map(|body| body.len()).sum();
        assert!(
            offset + total <= self.arena_bytes,
            "the arena holds every form of every packet"
        );
        self.slots[index].with_mut(|slot| {
            let mut at = offset;
            for body in bodies {
                // SAFETY: `at + body.len()` is within the arena (asserted above); `body` is lent by the caller and cannot overlap a
                // range which no reader can reach; the caller is alone with this range.
                unsafe { ptr::copy_nonoverlapping(body.as_ptr(), self.arena.add(at), body.len()) };
                at += body.len();
            }
            // SAFETY: the caller is alone with this slot.
            unsafe { *slot = meta };
        });
    }

    /// Lends the metadata of slot `index` to `read`.
    ///
    /// # Safety
    /// The slot was published and stays pinned during the call, or the caller is the writer.
    #[inline(always)]
    pub(crate) unsafe fn read_meta<R>(&self, index: usize, read: impl FnOnce(&Meta) -> R) -> R {
        // SAFETY: nobody writes a published slot while it is pinned, and the writer is not writing while it reads.
        self.slots[index].with(|slot| read(unsafe { &*slot }))
    }

    /// The bytes of `span`.
    ///
    /// # Safety
    /// `span` comes from the metadata of a slot that was published and stays pinned for the lifetime of the returned slice.
    #[inline(always)]
    pub(crate) unsafe fn body(&self, span: Span) -> &[u8] {
        debug_assert!(span.offset as usize + span.size as usize <= self.arena_bytes);
        // SAFETY: `write` filled exactly this range before the slot was published, and nobody writes it while it is pinned.
        unsafe { slice::from_raw_parts(self.arena.add(span.offset as usize), span.size as usize) }
    }

    /// Two slices of the arena as one, if the second begins where the first ends.
    #[inline]
    pub(crate) fn joined<'a>(&'a self, first: &'a [u8], second: &'a [u8]) -> Option<&'a [u8]> {
        let size = first.len() + second.len();
        let offset = first.as_ptr().addr().checked_sub(self.arena.addr())?;
        let within = offset < self.arena_bytes && size <= self.arena_bytes - offset;
        if !within || first.as_ptr_range().end != second.as_ptr() {
            return None;
        }
        // SAFETY: each byte of the range is one of `first` or `second`, which are initialised and stay as they are for `'a`; the
        // range lies within the arena, which lives as long as `self`.
        Some(unsafe { slice::from_raw_parts(self.arena.add(offset), size) })
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let arena =
            ptr::slice_from_raw_parts_mut(self.arena.cast::<MaybeUninit<u8>>(), self.arena_bytes);
        // SAFETY: made by `Box::into_raw` in `new` with this size, and dropped only here.
        drop(unsafe { Box::from_raw(arena) });
    }
}
