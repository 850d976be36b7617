//! The ring's receive buffers: a provided-buffer ring the kernel takes from and we give back to.
//!
//! One anonymous mapping holds the ring of descriptors (page-aligned, as the kernel wants) and behind it the buffers. The kernel
//! owns a buffer from the moment its descriptor is published until a completion names it; [`Lent`] then owns it and gives it
//! back when dropped, also when the reader of the bytes panics.
//!
//! Connections and datagrams have a pool each. What datagrams give back can be withheld for a while: then the number of buffers
//! bounds what a flood of them can cost (`datagrams.rs`).

use std::{
    cell::Cell,
    io, ptr, slice,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::{IoUring, types::BufRingEntry};

use crate::op_table::Kind;

/// The buffer group the receives of connections take from.
pub(crate) const GROUP: u16 = 0;

/// That of datagrams.
pub(crate) const DATAGRAM_GROUP: u16 = 1;

/// The most descriptors the kernel takes in one buffer ring.
const BUFFERS_MAX: u16 = 32_768;

/// When a buffer given back is the kernel's again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Return {
    AtOnce,
    /// With [`BufferPool::publish`].
    Withheld,
}

/// The pools of a ring.
#[derive(Debug)]
pub(crate) struct Pools {
    pub(crate) received: BufferPool,
    pub(crate) datagrams: Option<BufferPool>,
}

impl Pools {
    /// The one that receives of this kind take from.
    pub(crate) fn of(&self, kind: Kind) -> Option<&BufferPool> {
        match kind {
            Kind::ReceiveDatagrams => self.datagrams.as_ref(),
            _ => Some(&self.received),
        }
    }
}

#[derive(Debug)]
pub(crate) struct BufferPool {
    /// Start of the mapping: `count` descriptors, then `count` buffers of `buffer_bytes`.
    base: *mut u8,
    mapping_bytes: usize,
    buffers_offset: usize,
    count: u16,
    buffer_bytes: u32,
    returning: Return,
    /// Descriptors written so far.
    tail: Cell<u16>,
    /// Of those, the kernel was told of so many.
    published: Cell<u16>,
}

impl BufferPool {
    /// Maps, fills and registers `count` buffers (rounded up to a power of two) of `buffer_bytes` each.
    pub(crate) fn new(
        ring: &IoUring,
        group: u16,
        count: u16,
        buffer_bytes: u32,
        returning: Return,
    ) -> io::Result<BufferPool> {
        let count = count.clamp(1, BUFFERS_MAX).next_power_of_two();
        let buffers_offset = usize::from(count) * size_of::<BufRingEntry>();
        let mapping_bytes = buffers_offset + usize::from(count) * buffer_bytes as usize;
        // SAFETY: a fresh anonymous mapping touches no memory of ours.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                mapping_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let pool = BufferPool {
            base: base.cast(),
            mapping_bytes,
            buffers_offset,
            count,
            buffer_bytes,
            returning,
            tail: Cell::new(0),
            published: Cell::new(0),
        };
        // SAFETY: the descriptors start page-aligned at `base` and stay mapped until the pool is dropped, which the owner
        // (`Ring`) does only after the ring is gone or every receive is over.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(base as u64, count, group, 0)?
        };
        for id in 0..count {
            pool.give_back(id);
        }
        pool.publish();
        Ok(pool)
    }

    /// Takes over what a completion reported: `bytes` bytes in buffer `id`. `None` if the kernel names what is not in the pool.
    pub(crate) fn lent(&self, id: u16, bytes: usize) -> Option<Lent<'_>> {
        (id < self.count && bytes <= self.buffer_bytes as usize).then_some(Lent {
            pool: self,
            id,
            bytes,
        })
    }

    /// Whether buffers are given back that the kernel was not told of.
    pub(crate) fn withholds(&self) -> bool {
        self.published.get() != self.tail.get()
    }

    /// Makes all buffers given back the kernel's again.
    pub(crate) fn publish(&self) {
        self.published.set(self.tail.get());
        // SAFETY: the tail lies in the first descriptor, aligned to two bytes; the kernel only reads it.
        let shared_tail = unsafe {
            AtomicU16::from_ptr(BufRingEntry::tail(self.base.cast::<BufRingEntry>()).cast_mut())
        };
        shared_tail.store(self.tail.get(), Ordering::Release);
    }

    /// Writes the descriptor of buffer `id` again. Only for buffers the kernel does not own.
    fn give_back(&self, id: u16) {
        let tail = self.tail.get();
        let index = tail & (self.count - 1);
        // SAFETY: `index < count`, so the descriptor lies in the mapping; the kernel reads it only after the tail in `publish`.
        // The fields are set one by one because the first descriptor's last two bytes are the tail itself.
        unsafe {
            let entry = &mut *self.base.cast::<BufRingEntry>().add(usize::from(index));
            entry.set_addr(self.buffer(id) as u64);
            entry.set_len(self.buffer_bytes);
            entry.set_bid(id);
        }
        self.tail.set(tail.wrapping_add(1));
        if self.returning == Return::AtOnce {
            self.publish();
        }
    }

    fn buffer(&self, id: u16) -> *mut u8 {
        debug_assert!(id < self.count);
        // SAFETY: `id < count`, so the result lies in the mapping.
        unsafe {
            self.base
                .add(self.buffers_offset + usize::from(id) * self.buffer_bytes as usize)
        }
    }
}

impl Drop for BufferPool {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this size, and no `Lent` is alive, since it borrows the pool.
        unsafe { libc::munmap(self.base.cast(), self.mapping_bytes) };
    }
}

/// Received bytes in a buffer that is ours until this is dropped.
pub(crate) struct Lent<'p> {
    pool: &'p BufferPool,
    id: u16,
    bytes: usize,
}

impl Lent<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the completion that named this buffer ended the kernel's ownership, and it begins again only in our `drop`;
        // `BufferPool::lent` checked id and length. The mapping is zero-filled, so every byte is initialised.
        unsafe { slice::from_raw_parts(self.pool.buffer(self.id), self.bytes) }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.pool.give_back(self.id);
    }
}
