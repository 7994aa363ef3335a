//! The open event streams of this process, by connection, so that `POST /api/realtime/send` can talk for one.
//!
//! Leaves feeding them to `stream`. Easy to get wrong: a connection's number is known to everybody in its rooms; only the
//! key from its first event, kept here as a hash, and the same user make a message its own.
use super::text::Encoder;
use crate::http::live::elsewhere::{Hash, hash, secret};
use crate::http::live::ws::Dialogue;
use crate::protocol::client::JoinProject;
use crate::protocol::ids::ConnId;
use crate::protocol::{ClientMessage, client};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use subtle::ConstantTimeEq;

/// All open streams. Bounded by `max_sockets`, which admits each of them.
pub struct Streams {
    owner: u64,
    open: Mutex<HashMap<ConnId, Arc<Stream>>>,
}

/// One open stream.
pub(in crate::http) struct Stream {
    user: String,
    key: Hash,
    longest: usize,
    dialogue: Mutex<Dialogue>,
    pub(super) encoder: Mutex<Encoder>,
}

/// Why a message was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum NoStream {
    /// There is no such stream, or this is not its key, or not its user.
    Unknown,
    /// The message is longer than this many bytes.
    TooLong(usize),
}

impl Streams {
    /// None yet, of the replica with this mark.
    pub fn new(owner: u64) -> Self {
        Self { owner, open: Mutex::default() }
    }

    /// Enters a stream; gives it and its key, once.
    pub(super) fn enter(
        &self,
        conn: ConnId,
        user: &str,
        longest: usize,
        dialogue: Dialogue,
        encoder: Encoder,
    ) -> (Arc<Stream>, String) {
        let key = secret(self.owner);
        let stream = Arc::new(Stream {
            user: user.to_owned(),
            key: hash(&key),
            longest,
            dialogue: Mutex::new(dialogue),
            encoder: Mutex::new(encoder),
        });
        lock(&self.open).insert(conn, stream.clone());
        (stream, key)
    }

    /// The stream has ended.
    pub(in crate::http) fn leave(&self, conn: ConnId) {
        lock(&self.open).remove(&conn);
    }

    fn find(&self, conn: &str) -> Option<Arc<Stream>> {
        let number = conn.strip_prefix("c-").and_then(|number| number.parse().ok())?;
        lock(&self.open).get(&ConnId(number)).cloned()
    }

    /// Says `message` for the stream `conn`; whatever it is answered comes on the stream.
    pub(in crate::http) fn say(&self, conn: &str, key: &Hash, user: &str, message: &str) -> Result<(), NoStream> {
        let stream = self.find(conn).ok_or(NoStream::Unknown)?;
        if !bool::from(stream.key.ct_eq(key)) || stream.user != user {
            return Err(NoStream::Unknown);
        }
        if message.len() > stream.longest {
            return Err(NoStream::TooLong(stream.longest));
        }
        stream.say(message);
        Ok(())
    }
}

impl Stream {
    /// Joins a room for the client, which asked for it in the URL.
    pub(in crate::http) fn join(&self, join: JoinProject) {
        lock(&self.dialogue).join(None, join);
    }

    fn say(&self, message: &str) {
        // Where a join starts from counts for the ids of what it is answered.
        if let Ok(frame) = client::parse(message)
            && let ClientMessage::JoinProject(JoinProject { project_id, since: Some(since) }) = frame.message
        {
            lock(&self.encoder).since(project_id, since);
        }
        lock(&self.dialogue).obey(message);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whatever panicked under one of these locks left its value whole, if not up to date.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
