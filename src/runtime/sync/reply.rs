//! The reply slot of an ask: the single place that decides its outcome, without a lock. Reply, error, deadline and
//! withdrawal race for one word; whoever moves it owns what it moved. What the values mean is left to `envelope`. Easy to get wrong:
//! each cell has one owner per state (see `State`), so a new transition needs a look at all of them and a run of `checks/run`.
//!
//! loom and shuttle run this very file (`checks/`). loom found `fail` looking at a message that its handler was taking. Mutations it
//! caught: transitions with `Relaxed`; a re-registered waker that does not look again for an outcome; a reply that does not give way
//! to a failure that was first; a `Parcel` taken by a load instead of a swap.
#![allow(unsafe_code, reason = "the one cell that two threads write: loom, shuttle and Miri run on it")]
use std::task::{Poll, Waker};

use crate::sync::primitives::{Arc, AtomicBool, AtomicU8, Ordering, UnsafeCell};

// Who may touch what, by state:
//   QUEUED    the message waits; whoever moves the state on owns `message` from then
//   RUNNING   `value` belongs to the one `Turn`
//   LATER     the turn is over, the value comes from elsewhere
//   SETTLING  its claimant owns `error` (from LATER: `value` too)
//   OK, ERR   the outcome lies in `value` or `error`, and is the asker's
//   GONE      the asker left or has its outcome; nobody waits
const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const LATER: u8 = 2;
const SETTLING: u8 = 3;
const OK: u8 = 4;
const ERR: u8 = 5;
const GONE: u8 = 6;
const STATE: u8 = 7;
/// `waker` is set, and belongs to whoever moves the state to OK or ERR; without it, to the asker.
const WAKER: u8 = 8;

/// The half that travels with the message; any thread may use it.
pub(crate) struct Slot<M, R, E, T> {
    state: AtomicU8,
    message: UnsafeCell<Option<M>>,
    value: UnsafeCell<Option<R>>,
    /// Boxed, because errors are large and the slot is allocated for every ask.
    error: UnsafeCell<Option<Box<E>>>,
    waker: UnsafeCell<Option<Waker>>,
    /// Whatever else travels with it.
    pub(crate) tag: T,
}

// SAFETY: the state hands each cell from one owner to the next (see above), so values move between threads (`Send`) but are
// never shared between them.
unsafe impl<M: Send, R: Send, E: Send, T: Sync + Send> Sync for Slot<M, R, E, T> {}
// SAFETY: the same; the cells own their values.
unsafe impl<M: Send, R: Send, E: Send, T: Send> Send for Slot<M, R, E, T> {}

/// The asker's half; there is one.
pub(crate) struct Asker<M, R, E, T>(Arc<Slot<M, R, E, T>>);

/// What an asker that gives up finds.
pub(crate) enum GivenUp<M, R, E> {
    /// No handler has seen the message.
    Message(M),
    /// The outcome came first.
    Outcome(Result<R, E>),
    /// A handler is at it.
    Running,
    /// The outcome is being written at this moment; the waker will be called.
    Settling,
}

/// The right to reply at once, of the handler that took the message.
pub(crate) struct Turn<'a, M, R, E, T>(&'a Slot<M, R, E, T>);

impl<M, R, E, T> Slot<M, R, E, T> {
    /// A message whose asker will be woken by `waker`.
    pub(crate) fn new(message: M, waker: Waker, tag: T) -> Self {
        Self {
            state: AtomicU8::new(QUEUED | WAKER),
            message: UnsafeCell::new(Some(message)),
            value: UnsafeCell::new(None),
            error: UnsafeCell::new(None),
            waker: UnsafeCell::new(Some(waker)),
            tag,
        }
    }

    /// Both halves.
    pub(crate) fn pair(message: M, waker: Waker, tag: T) -> (Asker<M, R, E, T>, Arc<Self>) {
        let slot = Arc::new(Self::new(message, waker, tag));
        (Asker(slot.clone()), slot)
    }

    /// Moves the state `from` one `to` another, keeping the flag; the word it was, or the one that was in the way.
    fn shift(&self, from: u8, to: u8) -> Result<u8, u8> {
        let mut word = self.state.load(Ordering::Relaxed);
        loop {
            if word & STATE != from {
                return Err(word & STATE);
            }
            // AcqRel: releases what was written for the next owner, acquires what the one before wrote.
            match self.state.compare_exchange_weak(word, word & !STATE | to, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(word),
                Err(now) => word = now,
            }
        }
    }

    /// The message for its handler, unless it is settled or the asker has gone.
    pub(crate) fn begin(&self) -> Option<(M, Turn<'_, M, R, E, T>)> {
        self.shift(QUEUED, RUNNING).ok()?;
        // SAFETY: whoever moved the state out of QUEUED owns the message.
        let message = self.message.with_mut(|m| unsafe { (*m).take() });
        Some((message.expect("a queued message is in its slot"), Turn(self)))
    }

    /// The reply of a handler that said it comes `later`; dropped if the ask was settled meanwhile.
    pub(crate) fn deliver(&self, value: R) {
        if self.shift(LATER, SETTLING).is_ok() {
            // SAFETY: SETTLING after LATER owns `value`.
            self.value.with_mut(|v| unsafe { *v = Some(value) });
            self.settle(SETTLING, OK);
        }
    }

    /// Ends the ask without reply, unless it is settled. `make` gets the message if no handler has seen it, which is
    /// also what the result says.
    pub(crate) fn fail(&self, make: impl FnOnce(Option<M>) -> E) -> bool {
        let waiting = loop {
            match self.shift(QUEUED, SETTLING) {
                Ok(_) => break true,
                Err(now @ (RUNNING | LATER)) if self.shift(now, SETTLING).is_ok() => break false,
                Err(QUEUED | RUNNING | LATER) => {} // moved on meanwhile
                Err(_) => return false,
            }
        };
        let message = match waiting {
            // SAFETY: whoever moved the state out of QUEUED owns the message.
            true => self.message.with_mut(|m| unsafe { (*m).take() }),
            false => None, // not even a look: its handler may be taking it at this moment
        };
        let error = Some(Box::new(make(message)));
        // SAFETY: whoever moved the state to SETTLING owns `error`.
        self.error.with_mut(|e| unsafe { *e = error });
        self.settle(SETTLING, ERR);
        waiting
    }

    /// Publishes the outcome and wakes the asker; false if the state was no longer `from`.
    fn settle(&self, from: u8, to: u8) -> bool {
        let Ok(word) = self.shift(from, to) else { return false };
        if word & WAKER != 0 {
            // SAFETY: with the flag set at this transition the waker is ours; the asker keeps off it once there is an outcome.
            let waker = self.waker.with_mut(|w| unsafe { (*w).take() });
            waker.expect("the flag says that it is set").wake();
        }
        true
    }
}

impl<M, R, E, T> Turn<'_, M, R, E, T> {
    /// Replies; the value is dropped if the ask was settled meanwhile.
    pub(crate) fn reply(self, value: R) {
        // SAFETY: in RUNNING, and after it except for OK, `value` is touched by the one turn alone.
        self.0.value.with_mut(|v| unsafe { *v = Some(value) });
        if !self.0.settle(RUNNING, OK) {
            // SAFETY: the state left RUNNING for ERR or GONE, so the value is still ours.
            drop(self.0.value.with_mut(|v| unsafe { (*v).take() }));
        }
    }

    /// Gives up the right to reply at once: the reply comes through `Slot::deliver`.
    pub(crate) fn later(self) {
        // An error says that the ask was settled meanwhile.
        let _ = self.0.shift(RUNNING, LATER);
    }
}

impl<M, R, E, T> Asker<M, R, E, T> {
    /// The outcome, or leaves `waker` to be called. After an outcome it is `Pending` for ever.
    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<Result<R, E>> {
        let slot = &*self.0;
        let word = slot.state.load(Ordering::Acquire);
        if let Some(outcome) = self.take(word) {
            return Poll::Ready(outcome);
        }
        if word & STATE == GONE {
            return Poll::Pending;
        }
        // A look only: the waker may be taken by a settler at any moment, unless the flag is cleared first.
        let word = slot.state.fetch_and(!WAKER, Ordering::AcqRel);
        if let Some(outcome) = self.take(word) {
            return Poll::Ready(outcome);
        }
        // SAFETY: without the flag, and without an outcome before it was cleared, the waker is the asker's.
        let old = slot.waker.with_mut(|w| unsafe {
            match &*w {
                Some(old) if old.will_wake(waker) => None,
                _ => (*w).replace(waker.clone()),
            }
        });
        let word = slot.state.fetch_or(WAKER, Ordering::AcqRel);
        drop(old);
        self.take(word).map_or(Poll::Pending, Poll::Ready)
    }

    /// The outcome, if `word` (read with Acquire) says there is one; called with the asker borrowed mutably.
    fn take(&self, word: u8) -> Option<Result<R, E>> {
        let slot = &*self.0;
        let outcome = match word & STATE {
            // SAFETY: in OK the value is the asker's, and there is one asker, mutably borrowed.
            OK => slot.value.with_mut(|v| unsafe { (*v).take() }).map(Ok),
            // SAFETY: in ERR the error is the asker's.
            ERR => slot.error.with_mut(|e| unsafe { (*e).take() }).map(|e| Err(*e)),
            _ => None,
        };
        outcome.inspect(|_| slot.state.store(GONE, Ordering::Relaxed))
    }

    /// Takes the message back if no handler has seen it, else says how far it is. A message or an outcome is given once.
    pub(crate) fn give_up(&mut self) -> GivenUp<M, R, E> {
        let found = match self.0.shift(QUEUED, GONE) {
            Ok(_) => return GivenUp::Message(self.clear().expect("a queued message is in its slot")),
            Err(found) => found,
        };
        // The failed exchange was relaxed.
        let word = self.0.state.load(Ordering::Acquire);
        match self.take(word) {
            Some(outcome) => GivenUp::Outcome(outcome),
            None if found == SETTLING => GivenUp::Settling,
            None => GivenUp::Running,
        }
    }

    /// The asker's way out of QUEUED: nobody will touch message and waker any more.
    fn clear(&mut self) -> Option<M> {
        // SAFETY: the caller moved the state to GONE, from which nobody settles: the waker is the asker's.
        drop(self.0.waker.with_mut(|w| unsafe { (*w).take() }));
        // SAFETY: the caller moved the state out of QUEUED, so the message is its own.
        self.0.message.with_mut(|m| unsafe { (*m).take() })
    }
}

impl<M, R, E, T> Drop for Asker<M, R, E, T> {
    /// The asker is gone: a message that no handler has seen never gets to one, an outcome is thrown away.
    fn drop(&mut self) {
        if self.0.state.load(Ordering::Relaxed) & STATE == GONE {
            return; // by far the most frequent: it has its outcome
        }
        if self.0.shift(QUEUED, GONE).is_ok() {
            drop(self.clear());
            return;
        }
        // Else what is settled, or being settled, is dropped with the slot.
        for state in [RUNNING, LATER] {
            if self.0.shift(state, GONE).is_ok() {
                // SAFETY: from GONE nobody settles, so nobody else touches the waker.
                drop(self.0.waker.with_mut(|w| unsafe { (*w).take() }));
                return;
            }
        }
        let word = self.0.state.load(Ordering::Acquire);
        drop(self.take(word));
    }
}

/// A message that wants no reply: taken once.
pub(crate) struct Parcel<M, T> {
    taken: AtomicBool,
    message: UnsafeCell<Option<M>>,
    pub(crate) tag: T,
}

// SAFETY: the message is touched by the one who sets `taken`; it moves between threads but is never shared.
unsafe impl<M: Send, T: Send + Sync> Sync for Parcel<M, T> {}
// SAFETY: the same; the cell owns its value.
unsafe impl<M: Send, T: Send> Send for Parcel<M, T> {}

impl<M, T> Parcel<M, T> {
    pub(crate) fn new(message: M, tag: T) -> Self {
        Self { taken: AtomicBool::new(false), message: UnsafeCell::new(Some(message)), tag }
    }

    /// The message, for the first who asks.
    pub(crate) fn take(&self) -> Option<M> {
        // Acquire: what the sender wrote. Nothing is released: the cell is empty afterwards.
        if self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: one caller ever gets here.
        self.message.with_mut(|m| unsafe { (*m).take() })
    }
}
