//! The trains of one turn, and why lending memory to them is safe.
//!
//! A send is a `sendmsg` with MSG_DONTWAIT on a direct descriptor. io_uring executes it inside `io_uring_enter`, in this
//! thread: the ring has no SQPOLL thread, no entry carries IOSQE_ASYNC, DRAIN or a link, and MSG_DONTWAIT marks the request
//! NOWAIT, so that instead of arming a poll or going to a worker it completes, in full, short, or with EAGAIN. The bytes are copied
//! into the socket buffer or not taken at all (no zero copy); of datagrams, which are never short, all or none. So when `turn` has
//! entered the kernel and returns, every send is over. The ring does not only believe this: it counts sends submitted and send
//! completions reaped, and waits should they ever differ (`driver.rs`). The pieces have a lifetime that outlives the call of `turn`,
//! and entries reach the kernel only from inside it: a panic in the caller's closure drops the [`Batch`], which forgets what was
//! not submitted. Addresses and control messages of datagrams are copied into the table of sends.

use std::{
    cell::Cell,
    marker::PhantomData,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    ptr,
};

use io_uring::{opcode, squeue, types};
use socket2::SockAddr;

use crate::{
    dispatch::{Inbox, Reaped},
    driver::{Driver, Wait},
    files::File,
    op_table::{Key, Kind},
    ops::Ops,
};

/// The most pieces one send can carry (the kernel's UIO_MAXIOV). Further ones are left out, and the result is short.
pub const PIECES_MAX: usize = 1_024;

/// Pieces all sends of one batch may have together before it is submitted in parts: 1 MiB of iovecs.
const ARENA_PIECES_MAX: usize = 65_536;

const _: () = assert!(PIECES_MAX <= ARENA_PIECES_MAX);

/// Where datagrams go, where from, and how they are cut. Of an address alone: one datagram, from where the way there begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Target {
    /// Who is to receive them.
    pub to: SocketAddr,
    /// Which of this machine's addresses they leave from, of the family of `to` (IP_PKTINFO). `None`: the one the socket is
    /// bound to, or, bound to all of them, the one the kernel prefers on the way there.
    pub source: Option<IpAddr>,
    /// Cut into a train of datagrams of so many bytes (UDP_SEGMENT); the last may be shorter. `None`: one datagram.
    pub segment_bytes: Option<u16>,
}

impl From<SocketAddr> for Target {
    fn from(to: SocketAddr) -> Target {
        Target {
            to,
            source: None,
            segment_bytes: None,
        }
    }
}

/// Takes the sends of one turn. `'d` is the lifetime of what is lent to them.
pub struct Batch<'b, 'd> {
    sends: &'b mut SendTable,
    driver: &'b mut Driver,
    ops: &'b mut Ops,
    filled: bool,
    // Invariant: two batches with different lenders must not be exchanged.
    lent: PhantomData<Cell<&'d [u8]>>,
}

impl<'b, 'd> Batch<'b, 'd> {
    pub(crate) fn new(
        sends: &'b mut SendTable,
        driver: &'b mut Driver,
        ops: &'b mut Ops,
    ) -> Batch<'b, 'd> {
        debug_assert!(sends.pending.is_empty());
        Batch {
            sends,
            driver,
            ops,
            filled: false,
            lent: PhantomData,
        }
    }

    /// Sends the pieces, in order, as one `sendmsg`. The result comes as `Completion::Sent`, perhaps short; the rest is for
    /// the caller to send again. At most one send a file and turn keeps the order clear. For a void file nothing is done or reported.
    pub fn send(&mut self, file: File, token: u64, pieces: impl IntoIterator<Item = &'d [u8]>) {
        self.push(file, token, None, pieces);
    }

    /// Sends the pieces, in order, as one datagram, or as a train of them, cut wherever a segment is full: pieces may be smaller,
    /// larger, or lie across. Several sends a file and turn are normal. The result comes as `Completion::Sent`: never short, all bytes
    /// or −errno and no datagram left:
    ///
    /// - −EAGAIN: the socket's send buffer is full; −ENOBUFS: a queue below it is, or there is no memory.
    /// - −EMSGSIZE: a segment and its headers exceed the MTU (−EINVAL before Linux 6.14), or all of it 65,507 bytes (IPv6: 65,527).
    /// - −EINVAL: more than 64 segments (newer kernels: 128), or an IPv6 source that is no address of this machine; −EIO: the way there
    ///   cannot have segments (IPsec; before Linux 6.11 a device without checksum offload).
    /// - −ENETUNREACH, −EHOSTUNREACH, −EPERM and the like: the way there, or the IPv4 source.
    pub fn send_to(
        &mut self,
        file: File,
        token: u64,
        target: Target,
        pieces: impl IntoIterator<Item = &'d [u8]>,
    ) {
        self.push(file, token, Some(Label::new(target)), pieces);
    }

    fn push(
        &mut self,
        file: File,
        token: u64,
        label: Option<Label>,
        pieces: impl IntoIterator<Item = &'d [u8]>,
    ) {
        if !self.ops.files.is_open(file) {
            return;
        }
        if !self.sends.has_room() {
            self.driver.pump(
                &mut self.ops.queue,
                &mut self.ops.stats,
                self.sends,
                Wait::No,
            );
        }
        self.sends.push(file, token, label, pieces);
    }

    /// The closure is through: what was lent may go out.
    pub(crate) fn filled(mut self) {
        self.filled = true;
    }
}

impl Drop for Batch<'_, '_> {
    fn drop(&mut self) {
        if !self.filled {
            self.sends.clear();
        }
    }
}

/// The sends of a batch with the memory the kernel reads to do them; reused every turn.
pub(crate) struct SendTable {
    pending: Vec<Pending>,
    /// Pieces of all pending sends, back to back.
    iovecs: Vec<libc::iovec>,
    /// Of those pending sends that have one, in their order. Room for one each from the start.
    labels: Vec<Label>,
    /// One for each pending send, written when it is submitted. Never moves.
    messages: Box<[libc::msghdr]>,
    /// Pending sends already given to the kernel.
    submitted: usize,
    reaped: usize,
    /// Changes with every `clear`.
    generation: u32,
}

struct Pending {
    file: File,
    token: u64,
    first_piece: usize,
    pieces: usize,
    /// Index in `labels`.
    label: Option<usize>,
}

/// A target as the kernel reads it.
struct Label {
    address: SockAddr,
    control: Control,
}

impl Label {
    fn new(target: Target) -> Label {
        let mut control = Control::default();
        if let Some(segment_bytes) = target.segment_bytes {
            control.push(libc::SOL_UDP, libc::UDP_SEGMENT, segment_bytes);
        }
        match target.source {
            Some(IpAddr::V4(source)) => {
                let ipi_spec_dst = libc::in_addr {
                    s_addr: u32::from_ne_bytes(source.octets()),
                };
                let source = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst,
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, source);
            }
            Some(IpAddr::V6(source)) => {
                let ipi6_addr = libc::in6_addr {
                    s6_addr: source.octets(),
                };
                let source = libc::in6_pktinfo {
                    ipi6_addr,
                    ipi6_ifindex: 0,
                };
                control.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, source);
            }
            None => {}
        }
        Label {
            address: target.to.into(),
            control,
        }
    }
}

/// Control messages, one behind the other.
struct Control {
    /// Room for a segment size and an IPv6 source, aligned as `cmsghdr` is.
    words: [MaybeUninit<u64>; 8],
    /// Bytes written.
    length: usize,
}

/// One of them; `size_of` is what CMSG_SPACE says.
#[repr(C)]
struct Message<T> {
    header: libc::cmsghdr,
    value: T,
}

impl<T> Message<T> {
    // SAFETY: these only compute.
    const LENGTH: usize = unsafe { libc::CMSG_LEN(size_of::<T>() as u32) } as usize;
    const IS_LAID_OUT_RIGHT: bool = {
        // SAFETY: as above.
        let space = unsafe { libc::CMSG_SPACE(size_of::<T>() as u32) } as usize;
        std::mem::offset_of!(Message<T>, value) + size_of::<T>() == Self::LENGTH
            && size_of::<Message<T>>() == space
            && align_of::<Message<T>>() <= align_of::<u64>()
            && space.is_multiple_of(align_of::<Message<T>>())
    };
}

impl Default for Control {
    fn default() -> Control {
        Control {
            words: [MaybeUninit::uninit(); 8],
            length: 0,
        }
    }
}

impl Control {
    fn push<T: Copy>(&mut self, level: libc::c_int, kind: libc::c_int, value: T) {
        const { assert!(Message::<T>::IS_LAID_OUT_RIGHT) }
        let end = self.length + size_of::<Message<T>>();
        assert!(end <= size_of_val(&self.words), "two messages at most");
        let message = Message {
            header: libc::cmsghdr {
                cmsg_len: Message::<T>::LENGTH as _,
                cmsg_level: level,
                cmsg_type: kind,
            },
            value,
        };
        let words = self.words.as_mut_ptr().cast::<u8>();
        // SAFETY: the message ends within the words, and begins aligned, behind others of aligned sizes.
        unsafe { words.add(self.length).cast::<Message<T>>().write(message) };
        self.length = end;
    }
}

impl SendTable {
    pub(crate) fn new(sends_max: usize) -> SendTable {
        assert!(sends_max < Key::SLOTS_MAX as usize);
        // SAFETY: a msghdr of zeroes is one with no name, no pieces and no control data.
        let empty: libc::msghdr = unsafe { std::mem::zeroed() };
        SendTable {
            pending: Vec::with_capacity(sends_max),
            iovecs: Vec::with_capacity(4 * sends_max),
            labels: Vec::with_capacity(sends_max),
            messages: vec![empty; sends_max].into_boxed_slice(),
            submitted: 0,
            reaped: 0,
            generation: 0,
        }
    }

    fn has_room(&self) -> bool {
        self.pending.len() < self.messages.len()
            && self.iovecs.len() + PIECES_MAX <= ARENA_PIECES_MAX
    }

    fn push<'d>(
        &mut self,
        file: File,
        token: u64,
        label: Option<Label>,
        pieces: impl IntoIterator<Item = &'d [u8]>,
    ) {
        debug_assert!(
            self.submitted == 0,
            "entries point into the tables: nothing may move"
        );
        let first_piece = self.iovecs.len();
        let pieces = pieces
            .into_iter()
            .filter(|piece| !piece.is_empty())
            .take(PIECES_MAX);
        self.iovecs.extend(pieces.map(|piece| libc::iovec {
            iov_base: piece.as_ptr().cast_mut().cast(),
            iov_len: piece.len(),
        }));
        self.pending.push(Pending {
            file,
            token,
            first_piece,
            pieces: self.iovecs.len() - first_piece,
            label: label.is_some().then_some(self.labels.len()),
        });
        self.labels.extend(label);
    }

    /// The next send as an entry, if there is one. From the first of these on until `clear` the tables do not move.
    ///
    /// # Safety
    /// What was lent to the sends must live until the entry was submitted and its completion was reaped.
    pub(crate) unsafe fn next_entry(&mut self) -> Option<squeue::Entry> {
        let slot = self.submitted;
        let pending = self.pending.get(slot)?;
        let message = &mut self.messages[slot];
        // SAFETY: `push` made `first_piece` an index into the arena or its end. The kernel only reads the iovecs.
        message.msg_iov = unsafe { self.iovecs.as_ptr().add(pending.first_piece) }.cast_mut();
        message.msg_iovlen = pending.pieces as _;
        let label = pending.label.map(|index| &self.labels[index]);
        // The kernel only reads address and control messages; an entry without them leaves none of an earlier turn behind.
        (message.msg_name, message.msg_namelen) = match label {
            Some(Label { address, .. }) => (address.as_ptr().cast_mut().cast(), address.len()),
            None => (ptr::null_mut(), 0),
        };
        (message.msg_control, message.msg_controllen) = match label {
            Some(Label { control, .. }) if control.length > 0 => (
                control.words.as_ptr().cast_mut().cast(),
                control.length as _,
            ),
            _ => (ptr::null_mut(), 0),
        };
        self.submitted += 1;
        let key = Key {
            kind: Kind::Send,
            slot: slot as u32,
            generation: self.generation,
        };
        let send = opcode::SendMsg::new(types::Fixed(pending.file.slot), ptr::from_ref(message))
            .flags((libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as u32)
            .build();
        Some(send.user_data(key.pack()))
    }

    /// Follows the kernel: a send is over.
    pub(crate) fn reap(&mut self, key: Key, result: i32, inbox: &mut Inbox) -> bool {
        let pending = self
            .pending
            .get(key.slot as usize)
            .filter(|_| key.generation == self.generation);
        let Some(pending) = pending else { return false };
        self.reaped += 1;
        inbox.push_back(Reaped::Sent {
            file: pending.file,
            token: pending.token,
            result,
        });
        true
    }

    /// Entries handed out whose completion was not seen: while there are any, lent memory is the kernel's.
    pub(crate) fn outstanding(&self) -> usize {
        self.submitted - self.reaped
    }

    pub(crate) fn all_submitted(&self) -> bool {
        self.submitted == self.pending.len()
    }

    pub(crate) fn submitted(&self) -> usize {
        self.submitted
    }

    /// Forgets everything lent.
    pub(crate) fn clear(&mut self) {
        assert_eq!(
            self.outstanding(),
            0,
            "sends are over before their memory is forgotten"
        );
        self.pending.clear();
        self.iovecs.clear();
        self.labels.clear();
        (self.submitted, self.reaped) = (0, 0);
        self.generation = self.generation.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: File = File {
        slot: 0,
        generation: 0,
    };

    #[test]
    fn more_pieces_than_the_kernel_takes_are_left_out() {
        let mut sends = SendTable::new(4);
        sends.push(
            FILE,
            1,
            None,
            std::iter::repeat_n(b"x".as_slice(), PIECES_MAX + 5),
        );
        sends.push(FILE, 2, None, [b"".as_slice(), b"ab", b""]);
        assert_eq!(
            sends
                .pending
                .iter()
                .map(|send| send.pieces)
                .collect::<Vec<_>>(),
            [PIECES_MAX, 1]
        );
    }

    #[test]
    fn the_arena_has_a_ceiling() {
        let mut sends = SendTable::new(1_000);
        let mut count = 0;
        while sends.has_room() {
            sends.push(
                FILE,
                0,
                None,
                std::iter::repeat_n(b"x".as_slice(), PIECES_MAX),
            );
            count += 1;
        }
        assert_eq!(count, ARENA_PIECES_MAX / PIECES_MAX);
        sends.clear();
        assert!(sends.has_room());
    }

    #[test]
    fn a_completion_of_an_earlier_turn_ends_no_send_of_this_one() {
        let mut sends = SendTable::new(4);
        let (stale, mut inbox) = (
            Key {
                kind: Kind::Send,
                slot: 0,
                generation: 0,
            },
            Inbox::new(),
        );
        sends.clear();
        sends.push(FILE, 7, None, [b"x".as_slice()]);
        // SAFETY: the entry is dropped, nothing is submitted.
        unsafe { sends.next_entry() }.unwrap();
        assert!(!sends.reap(stale, 1, &mut inbox));
        assert_eq!(sends.outstanding(), 1);
        assert!(sends.reap(
            Key {
                generation: 1,
                ..stale
            },
            1,
            &mut inbox
        ));
        assert_eq!(sends.outstanding(), 0);
    }
}
