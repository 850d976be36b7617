//! An allocator that counts heap operations of each thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator with a counter beside it. Install it with `#[global_allocator]`.
pub struct Counting;

// SAFETY: every call is passed on to the system allocator unchanged; counting touches only a thread-local integer
// without a destructor. `realloc` and `alloc_zeroed` come through `alloc` and `dealloc` by their default bodies.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        OPERATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        OPERATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Heap operations (allocations and frees) `work` makes on this thread, with its result.
pub fn operations<R>(work: impl FnOnce() -> R) -> (u64, R) {
    let before = OPERATIONS.with(Cell::get);
    let result = work();
    (OPERATIONS.with(Cell::get) - before, result)
}
