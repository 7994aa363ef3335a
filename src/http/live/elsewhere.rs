//! What a request needs of another replica: a ticket that was given out there, an event stream that lives there.
//!
//! Asking and waiting is `actors::replicas`'s. Both are secrets that say which replica gave them out, so that it alone is asked,
//! and nobody for one that was made up. Easy to get wrong: neither leaves the process that was shown it; their hashes are
//! enough to find what they stand for.
use super::sse::{NoStream, Streams};
use super::tickets::Tickets;
use crate::actors::hub::Realtime;
use crate::actors::replicas::{Asked, Said};
use crate::protocol::principal::{Grant, Principal};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{borrow::Cow, sync::Arc};

/// Bytes of randomness in a secret.
const RANDOM_BYTES: usize = 24;
/// Hexadecimal digits of a secret: the random ones, and the mark of the replica that gave it out.
const DIGITS: usize = RANDOM_BYTES * 2 + 16;

/// A secret, as other replicas may see it.
pub(in crate::http) type Hash = [u8; 32];

pub(in crate::http) fn hash(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

/// A new secret of the replica with this mark.
pub(in crate::http) fn secret(owner: u64) -> String {
    let random = rand::random::<[u8; RANDOM_BYTES]>();
    random.iter().map(|byte| format!("{byte:02x}")).chain([format!("{owner:016x}")]).collect()
}

/// Which replica gave this secret out; none when none did.
fn owner(secret: &str) -> Option<u64> {
    let digits = secret.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mark = secret.get(RANDOM_BYTES * 2..).filter(|_| digits && secret.len() == DIGITS)?;
    u64::from_str_radix(mark, 16).ok()
}

#[derive(Serialize, Deserialize)]
enum Question<'a> {
    /// Is this ticket yours? Then it is used up now.
    Redeem { ticket: Hash },
    /// Is this stream yours? Then this is said for it.
    Say {
        /// Borrowed only where JSON needs no escapes in it.
        #[serde(borrow)]
        conn: Cow<'a, str>,
        key: Hash,
        #[serde(borrow)]
        user: Cow<'a, str>,
        #[serde(borrow)]
        message: Cow<'a, str>,
    },
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Granted { user_id: String, role: String, expires_at_ms: Option<i64> },
    Said {},
    TooLong { most: usize },
}

/// The other replicas could not be asked, or not all have answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) struct Unknown;

/// Answers the others' questions.
pub(in crate::http) fn answerer(tickets: Arc<Tickets>, streams: Arc<Streams>) -> impl Fn(&str) -> Said + Send + Sync {
    move |question| {
        let answer = match serde_json::from_str(question) {
            Ok(Question::Redeem { ticket }) => tickets.redeem(&ticket).map(|Grant { principal, expires_at_ms }| {
                Answer::Granted { user_id: principal.user_id, role: principal.role.name().to_owned(), expires_at_ms }
            }),
            Ok(Question::Say { conn, key, user, message }) => match streams.say(&conn, &key, &user, &message) {
                Ok(()) => Some(Answer::Said {}),
                Err(NoStream::TooLong(most)) => Some(Answer::TooLong { most }),
                Err(NoStream::Unknown) => None,
            },
            Err(error) => {
                log::warn!("a question of another replica is not understood: {error}");
                return Said::Nothing;
            }
        };
        let Some(answer) = answer else { return Said::NotMine };
        serde_json::to_string(&answer).map_or(Said::Nothing, Said::Answer)
    }
}

/// The grant behind a ticket, wherever it was given out; it is used up by this.
pub(in crate::http) async fn redeem(
    tickets: &Tickets,
    realtime: &Realtime,
    ticket: &str,
) -> Result<Option<Grant>, Unknown> {
    let Some(owner) = owner(ticket) else { return Ok(None) };
    let ticket = hash(ticket);
    if let Some(grant) = tickets.redeem(&ticket) {
        return Ok(Some(grant));
    }
    match ask(realtime, owner, &Question::Redeem { ticket }).await? {
        Some(Answer::Granted { user_id, role, expires_at_ms }) => {
            let role = role.parse().map_err(|_| Unknown)?;
            Ok(Some(Grant { principal: Principal { user_id, role }, expires_at_ms }))
        }
        _ => Ok(None),
    }
}

/// Says `message` for a stream, wherever it lives.
pub(in crate::http) async fn say(
    streams: &Streams,
    realtime: &Realtime,
    (conn, key): (&str, &str),
    user: &str,
    message: &str,
) -> Result<Result<(), NoStream>, Unknown> {
    let Some(owner) = owner(key) else { return Ok(Err(NoStream::Unknown)) };
    let key = hash(key);
    match streams.say(conn, &key, user, message) {
        Err(NoStream::Unknown) => {}
        here => return Ok(here),
    }
    let question = Question::Say { conn: conn.into(), key, user: user.into(), message: message.into() };
    Ok(match ask(realtime, owner, &question).await? {
        Some(Answer::Said {}) => Ok(()),
        Some(Answer::TooLong { most }) => Err(NoStream::TooLong(most)),
        _ => Err(NoStream::Unknown),
    })
}

async fn ask(realtime: &Realtime, owner: u64, question: &Question<'_>) -> Result<Option<Answer>, Unknown> {
    let question = serde_json::to_string(question).map_err(|_| Unknown)?;
    match realtime.ask_one(owner, question).await {
        // Of a newer replica, perhaps: it has done something that can't be told here.
        Asked::Answered(answer) => serde_json::from_str(&answer).map(Some).map_err(|_| Unknown),
        Asked::Nobody => Ok(None),
        Asked::Unknown => Err(Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_says_who_gave_it_out_and_what_is_made_up_does_not() {
        for mark in [0, 7, u64::MAX] {
            let secret = secret(mark);
            assert_eq!((secret.len(), owner(&secret)), (DIGITS, Some(mark)));
        }
        let secret = secret(7);
        for junk in ["", "junk", &secret[1..], &secret.to_uppercase(), &format!("{secret}0"), &"é".repeat(DIGITS / 2)]
        {
            assert_eq!(owner(junk), None, "{junk}");
        }
    }

    #[test]
    fn a_question_is_understood_whatever_the_names_in_it() {
        let user = r#"CORP\ana "the boss""#;
        let message = r#"{"id":1,"Ping":{}}"#;
        let asked = Question::Say { conn: "c-1".into(), key: [0; 32], user: user.into(), message: message.into() };
        let asked = serde_json::to_string(&asked).unwrap();
        let Ok(Question::Say { user: read, message: said, .. }) = serde_json::from_str(&asked) else {
            panic!("{asked}")
        };
        assert_eq!((&*read, &*said), (user, message));
        let (tickets, streams) = (Tickets::new(std::time::Duration::from_secs(1), 1, 7), Streams::new(7));
        let answer = answerer(Arc::new(tickets), Arc::new(streams));
        assert_eq!(answer(&asked), Said::NotMine);
        assert_eq!(answer(r#"{"Newer":{}}"#), Said::Nothing, "what is not understood is not a no");
    }
}
