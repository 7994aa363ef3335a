//! Listening to the events: two lanes, so that a flood of dead letters pushes out no word about supervision. Sending is `Core`'s. Easy to
//! get wrong: order holds within a lane, and supervision goes first.
use tokio::sync::broadcast::{
    Receiver,
    error::{RecvError, TryRecvError},
};

use crate::handle::event::Event;

/// Why there is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventsError {
    /// The listener was too slow for this many events about supervision; those kept (256) follow.
    #[error("{0} events were missed")]
    Missed(u64),
    /// The same of dead letters.
    #[error("{0} dead letters were missed")]
    MissedDeadLetters(u64),
    /// There is none now; only `try_recv` says so.
    #[error("there is no event now")]
    Empty,
    /// The runtime is gone: no event comes any more.
    #[error("the runtime is gone: no event comes any more")]
    Ended,
}

/// The events of a runtime from `Runtime::events` on: 256 about supervision and, in a lane of their own, 256 dead letters wait for a slow
/// listener.
#[derive(Debug)]
pub struct Events {
    pub(crate) supervision: Receiver<Event>,
    pub(crate) dead_letters: Receiver<Event>,
}

impl Events {
    /// The next event; one about supervision goes before dead letters.
    ///
    /// Errors: what was missed, after which the listener goes on; `Ended`.
    ///
    /// Cancel safety: dropping the future loses no event.
    pub async fn recv(&mut self) -> Result<Event, EventsError> {
        tokio::select! {
            biased;
            event = self.supervision.recv() => match event {
                Ok(event) => Ok(event),
                Err(RecvError::Lagged(n)) => Err(EventsError::Missed(n)),
                // Both lanes end at once; what is left in the other comes first.
                Err(RecvError::Closed) => self.dead_letters.recv().await.map_err(of_dead_letters),
            },
            event = self.dead_letters.recv() => event.map_err(of_dead_letters),
        }
    }

    /// The next event, if there is one now. Errors as of `recv`, and `Empty`.
    pub fn try_recv(&mut self) -> Result<Event, EventsError> {
        match self.supervision.try_recv() {
            Ok(event) => return Ok(event),
            Err(TryRecvError::Lagged(n)) => return Err(EventsError::Missed(n)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => {}
        }
        match self.dead_letters.try_recv() {
            Ok(event) => Ok(event),
            Err(TryRecvError::Empty) => Err(EventsError::Empty),
            Err(TryRecvError::Lagged(n)) => Err(EventsError::MissedDeadLetters(n)),
            Err(TryRecvError::Closed) => Err(EventsError::Ended),
        }
    }
}

fn of_dead_letters(error: RecvError) -> EventsError {
    match error {
        RecvError::Lagged(n) => EventsError::MissedDeadLetters(n),
        RecvError::Closed => EventsError::Ended,
    }
}
