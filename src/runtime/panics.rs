//! Where and what a panic was: a process-wide hook that notes text and location per thread and then calls the hook that
//! was there before. Only threads of the runtime take notes. Easy to get wrong: whoever catches a panic must take its
//! note, or the next one to look finds a stale one.
use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic,
    sync::{Arc, Once},
};

use super::error::PanicInfo;

/// What the hook saw.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    text: String,
    location: Option<String>,
}

thread_local! {
    static NOTING: Cell<bool> = const { Cell::new(false) };
    static NOTE: RefCell<Option<Note>> = const { RefCell::new(None) };
}

/// Installs the hook, once per process, in front of the one that is there.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if NOTING.try_with(Cell::get).unwrap_or(false) {
                let note = Note { text: text(info.payload()), location: info.location().map(ToString::to_string) };
                // Failing to borrow means a panic while taking a note: keep the first.
                let _ = NOTE.try_with(|n| n.try_borrow_mut().map(|mut n| *n = Some(note)));
            }
            previous(info);
        }));
    });
}

/// Makes this thread take notes.
pub(crate) fn note_on_this_thread() {
    NOTING.with(|n| n.set(true));
}

/// Takes this thread's last note.
pub(crate) fn take_note() -> Option<Note> {
    NOTE.with(|n| n.borrow_mut().take())
}

impl Note {
    /// Turns the note into an error.
    pub(crate) fn into_info(self, actor: Arc<str>, message: Option<&'static str>) -> PanicInfo {
        PanicInfo { actor, message, text: self.text, location: self.location }
    }
}

/// A caught payload together with its note.
pub(crate) fn caught(payload: &(dyn Any + Send), actor: Arc<str>, message: Option<&'static str>) -> PanicInfo {
    match take_note() {
        Some(note) => note.into_info(actor, message),
        // `resume_unwind` does not call the hook.
        None => PanicInfo { actor, message, text: text(payload), location: None },
    }
}

fn text(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&'static str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(a payload that is not text)".to_owned())
}
