//! Where and what a panic was: a process-wide hook that notes text and location per thread and then calls the hook that
//! was there before. Only threads of the runtime take notes. Easy to get wrong: a note outlives its panic when user code catches
//! that itself, so each turn begins without one, and a note counts only for the payload or the task it was taken of.
use std::{
    any::{Any, TypeId},
    cell::{Cell, RefCell},
    mem,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::{Arc, Once},
};

use crate::handle::error::PanicInfo;

/// What the hook saw.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    text: String,
    location: Option<String>,
    payload: TypeId,
    task: Option<tokio::task::Id>,
}

thread_local! {
    static NOTING: Cell<bool> = const { Cell::new(false) };
    static NOTED: Cell<bool> = const { Cell::new(false) };
    static NOTE: RefCell<Option<Note>> = const { RefCell::new(None) };
}

/// Installs the hook, once per process, in front of the one that is there.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if NOTING.try_with(Cell::get).unwrap_or(false) {
                let note = Note {
                    text: text(info.payload()),
                    location: info.location().map(ToString::to_string),
                    payload: info.payload().type_id(),
                    task: tokio::task::try_id(),
                };
                // Failing to borrow means a panic while taking a note: keep the first.
                let _ = NOTE.try_with(|n| n.try_borrow_mut().map(|mut n| *n = Some(note)));
                let _ = NOTED.try_with(|n| n.set(true));
            }
            previous(info);
        }));
    });
}

/// Makes this thread take notes.
pub(crate) fn note_on_this_thread() {
    NOTING.with(|n| n.set(true));
}

/// Forgets this thread's note: a turn begins, and an earlier panic is not its own.
pub(crate) fn forget() {
    if NOTED.replace(false) {
        take_note();
    }
}

fn take_note() -> Option<Note> {
    NOTE.try_with(|n| n.borrow_mut().take()).ok().flatten()
}

/// The note of the panic that unwinds the present task; `None` for one that was resumed, of which no note is taken.
pub(crate) fn unwinding() -> Option<Note> {
    let note = NOTE.try_with(|n| n.borrow().clone()).ok().flatten();
    note.filter(|note| note.task == tokio::task::try_id())
}

impl Note {
    /// Whether it was taken of this payload, as far as that can be told.
    fn is_of(&self, payload: &(dyn Any + Send)) -> bool {
        self.payload == payload.type_id() && self.text == text(payload)
    }

    /// Turns the note into an error.
    pub(crate) fn into_info(self, actor: Arc<str>, message: Option<&'static str>) -> PanicInfo {
        PanicInfo { actor, message, text: self.text, location: self.location }
    }
}

/// A caught payload together with its note.
pub(crate) fn caught(payload: Box<dyn Any + Send>, actor: Arc<str>, message: Option<&'static str>) -> PanicInfo {
    let info = match take_note().filter(|note| note.is_of(&*payload)) {
        Some(note) => note.into_info(actor, message),
        // `resume_unwind` does not call the hook.
        None => PanicInfo { actor, message, text: text(&*payload), location: None },
    };
    discard(payload);
    info
}

/// Runs code of users; its panic becomes text, with the place if this thread takes notes.
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let at = take_note().filter(|note| note.is_of(&*payload)).and_then(|note| note.location);
        let text = text(&*payload);
        discard(payload);
        at.map_or_else(|| text.clone(), |at| format!("{text} at {at}"))
    })
}

/// Drops what a panic carried: a value of users, whose destructor may panic again.
pub(crate) fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(again); // it would go on for ever
    }
}

fn text(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&'static str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(a payload that is not text)".to_owned())
}
