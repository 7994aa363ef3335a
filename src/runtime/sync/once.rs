//! Something that is done once and whose result everybody gets: whoever asks first begins it, all wait for the one result, and
//! none of them is needed for it to come. Doing it is the caller's. Easy to get wrong: a waker is user code, so it is cloned,
//! dropped and called outside of the lock.
//!
//! loom and shuttle run this very file (`checks/`).
use std::{
    future::Future,
    pin::Pin,
    task::{Context as TaskContext, Poll, Waker},
};

use crate::sync::primitives::{Mutex, lock};

struct Inner<T> {
    begun: bool,
    result: Option<T>,
    /// One for each future that waits.
    waiting: Vec<(u64, Waker)>,
    next: u64,
}

/// What is done once, and its result.
pub(crate) struct Once<T>(Mutex<Inner<T>>);

impl<T: Clone> Once<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Inner { begun: false, result: None, waiting: Vec::new(), next: 0 }))
    }

    /// True for the one who is to begin it.
    pub(crate) fn begin(&self) -> bool {
        !std::mem::replace(&mut lock(&self.0).begun, true)
    }

    /// The first result counts.
    pub(crate) fn end(&self, result: T) {
        let mut inner = lock(&self.0);
        inner.begun = true;
        inner.result.get_or_insert(result);
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    /// Waits for the result; may be dropped at any time.
    pub(crate) fn wait(&self) -> Wait<'_, T> {
        Wait { once: self, id: None }
    }
}

/// One who waits.
pub(crate) struct Wait<'a, T: Clone> {
    once: &'a Once<T>,
    id: Option<u64>,
}

impl<T: Clone> Future for Wait<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<T> {
        let waker = cx.waker().clone();
        let mut inner = lock(&self.once.0);
        if let Some(result) = &inner.result {
            let result = result.clone();
            drop(inner);
            return Poll::Ready(result);
        }
        let id = self.id.unwrap_or(inner.next);
        let mut before = None;
        match inner.waiting.iter_mut().find(|(of, _)| *of == id) {
            Some((_, old)) => before = Some(std::mem::replace(old, waker)),
            None => {
                inner.next += 1;
                inner.waiting.push((id, waker));
            }
        }
        drop(inner);
        drop(before);
        self.id = Some(id);
        Poll::Pending
    }
}

impl<T: Clone> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let mut inner = lock(&self.once.0);
        let at = inner.waiting.iter().position(|(of, _)| *of == id);
        let waker = at.map(|at| inner.waiting.swap_remove(at));
        drop(inner);
        drop(waker);
    }
}
