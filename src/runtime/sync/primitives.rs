//! The primitives that the files beside this one are built from, and nothing else: `checks/` compiles those files with loom's
//! or shuttle's in their place. Easy to get wrong: a file that names `std::sync` directly is not checked.
use std::cell;
pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence},
};

/// `std::cell::UnsafeCell` with what is needed of loom's interface.
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(cell::UnsafeCell::new(value))
    }

    /// A pointer to the value; dereferencing is the caller's to justify.
    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// The lock, though a panic elsewhere may have poisoned it: no user code runs under these locks.
pub(crate) fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
