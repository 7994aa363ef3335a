//! A runtime that keeps nothing alive: for the fields of actors that start others. Easy to get wrong: an actor that owned a `Runtime` would
//! keep it, and so itself, alive for ever.
use std::{
    fmt,
    sync::{Arc, Weak},
};

use crate::handle::runtime::{Inner, Runtime};

/// A [`Runtime`] that keeps nothing alive, from `Runtime::downgrade` and
/// [`OwnContext::own_runtime`](crate::OwnContext::own_runtime).
#[derive(Clone, Default)]
pub struct WeakRuntime {
    inner: Weak<Inner>,
}

impl WeakRuntime {
    pub(crate) fn new(inner: &Arc<Inner>) -> Self {
        Self { inner: Arc::downgrade(inner) }
    }

    /// The runtime, unless its last handle was dropped. Drop it soon: the last handle ends the actors.
    pub fn upgrade(&self) -> Option<Runtime> {
        self.inner.upgrade().map(|inner| Runtime { inner })
    }
}

impl fmt::Debug for WeakRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.inner.strong_count() > 0 { "WeakRuntime" } else { "WeakRuntime(gone)" })
    }
}
