//! What a request needs of another replica: a ticket that was given out there, an event stream that lives there.
//!
//! Asking and waiting is `actors::mesh`'s. Easy to get wrong: neither a ticket nor a stream's key leaves the process that
//! was shown it; their hashes are enough to find what they stand for.
use super::{
    sse::{NoStream, Streams},
    tickets::Tickets,
};
use crate::{
    actors::{mesh::Asked, realtime::Realtime},
    protocol::principal::{Grant, Principal},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// A secret, as other replicas may see it.
pub(super) type Hash = [u8; 32];

pub(super) fn hash(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

#[derive(Serialize, Deserialize)]
enum Question<'a> {
    /// Is this ticket yours? Then it is used up now.
    Redeem { ticket: Hash },
    /// Is this stream yours? Then this is said for it.
    Say { conn: &'a str, key: Hash, user: &'a str, message: String },
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Granted { user_id: String, role: String, expires_at_ms: Option<i64> },
    Said {},
    TooLong { most: usize },
}

/// The other replicas could not be asked, or not all have answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unknown;

/// Answers the others' questions.
pub(super) fn answerer(tickets: Arc<Tickets>, streams: Arc<Streams>) -> impl Fn(&str) -> Option<String> + Send + Sync {
    move |question| {
        let answer = match serde_json::from_str(question).ok()? {
            Question::Redeem { ticket } => {
                let Grant { principal, expires_at_ms } = tickets.redeem(&ticket)?;
                Answer::Granted { user_id: principal.user_id, role: principal.role.name().to_owned(), expires_at_ms }
            }
            Question::Say { conn, key, user, message } => match streams.say(conn, &key, user, &message) {
                Ok(()) => Answer::Said {},
                Err(NoStream::TooLong(most)) => Answer::TooLong { most },
                Err(NoStream::Unknown) => return None,
            },
        };
        serde_json::to_string(&answer).ok()
    }
}

/// The grant behind a ticket, wherever it was given out; it is used up by this.
pub(super) async fn redeem(tickets: &Tickets, realtime: &Realtime, ticket: &str) -> Result<Option<Grant>, Unknown> {
    let ticket = hash(ticket);
    if let Some(grant) = tickets.redeem(&ticket) {
        return Ok(Some(grant));
    }
    match ask(realtime, &Question::Redeem { ticket }).await? {
        Some(Answer::Granted { user_id, role, expires_at_ms }) => {
            let role = role.parse().map_err(|_| Unknown)?;
            Ok(Some(Grant { principal: Principal { user_id, role }, expires_at_ms }))
        }
        _ => Ok(None),
    }
}

/// Says `message` for a stream, wherever it lives.
pub(super) async fn say(
    streams: &Streams,
    realtime: &Realtime,
    (conn, key): (&str, &str),
    user: &str,
    message: &str,
) -> Result<Result<(), NoStream>, Unknown> {
    let key = hash(key);
    match streams.say(conn, &key, user, message) {
        // A number of this process's is no other's.
        Err(NoStream::Unknown) if !streams.has(conn) => {}
        here => return Ok(here),
    }
    Ok(match ask(realtime, &Question::Say { conn, key, user, message: message.to_owned() }).await? {
        Some(Answer::Said {}) => Ok(()),
        Some(Answer::TooLong { most }) => Err(NoStream::TooLong(most)),
        _ => Err(NoStream::Unknown),
    })
}

async fn ask(realtime: &Realtime, question: &Question<'_>) -> Result<Option<Answer>, Unknown> {
    let question = serde_json::to_string(question).map_err(|_| Unknown)?;
    match realtime.ask_others(question).await {
        // Of a newer replica, perhaps: it has done something that can't be told here.
        Asked::Answered(answer) => serde_json::from_str(&answer).map(Some).map_err(|_| Unknown),
        Asked::Nobody => Ok(None),
        Asked::Unknown => Err(Unknown),
    }
}
