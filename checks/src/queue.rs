//! A stand-in for tokio's bounded channel: places are granted first and filled later, and a granted one survives `close`,
//! which is what the hand-over has to cope with. Easy to get wrong: a stand-in that is kinder than the original proves nothing.
use std::collections::VecDeque;

use crate::{
    sync::close::Queue,
    sync::primitives::{Arc, AtomicBool, AtomicUsize, Mutex, Ordering, lock},
};

/// The sending side.
pub(crate) struct Sender<T> {
    places: AtomicUsize,
    closed: AtomicBool,
    items: Mutex<VecDeque<T>>,
}

impl<T> Sender<T> {
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            places: AtomicUsize::new(capacity),
            closed: AtomicBool::new(false),
            items: Mutex::new(VecDeque::new()),
        })
    }

    /// Two steps, as in tokio: a place, then the item.
    pub(crate) fn try_send(&self, item: T) -> Result<(), T> {
        if self.closed.load(Ordering::Acquire) {
            return Err(item);
        }
        let mut places = self.places.load(Ordering::Acquire);
        loop {
            if places == 0 {
                return Err(item);
            }
            match self.places.compare_exchange(places, places - 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => places = now,
            }
        }
        lock(&self.items).push_back(item);
        Ok(())
    }
}

/// The receiving side, as an inbox holds it.
pub(crate) struct Receiver<T> {
    pub(crate) front: VecDeque<T>,
    pub(crate) sender: Arc<Sender<T>>,
}

impl<T> Queue for Receiver<T> {
    type Item = T;

    fn close(&mut self) {
        self.sender.closed.store(true, Ordering::Release);
    }

    fn try_take(&mut self) -> Option<T> {
        if let Some(item) = self.front.pop_front() {
            return Some(item);
        }
        let item = lock(&self.sender.items).pop_front();
        if item.is_some() {
            self.sender.places.fetch_add(1, Ordering::AcqRel);
        }
        item
    }
}
