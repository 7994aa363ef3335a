//! What clients were told and what they saw, and whether the two can both be true: the judge of every fault test.
//! Leaves publishing and reading to `support::swarm`. Easy to get wrong: a request without an answer is neither done nor
//! undone; it may be stored once, and never twice, however often it was asked again under its key.
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;

mod stored;
mod tests;

/// Everything that was said so far. Shared by all publishers and subscribers of a test.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Books>);

#[derive(Default)]
struct Books {
    /// `Idempotency-Key` to what became of the request. The key also stands in the event, see [`key_of`].
    requests: BTreeMap<String, Request>,
    /// Name to what it saw.
    subscribers: BTreeMap<String, Subscriber>,
    broken: Vec<String>,
    /// Key to when it was first answered 200.
    answered: BTreeMap<String, Instant>,
    slowest_event: Duration,
}

struct Request {
    project: String,
    /// Where the server said that it is stored; more than one only when it was asked again.
    answers: Vec<(String, u64)>,
    refused: bool,
}

struct Subscriber {
    project: String,
    ep: String,
    /// The head of the project when it joined for the first time: what follows is its to see.
    after: u64,
    /// Offset and key in the order in which they came.
    events: Vec<(u64, Option<String>)>,
}

/// What the books say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Requests whose client was told that they are stored.
    pub acknowledged: usize,
    /// Requests whose client was told that they are not.
    pub refused: usize,
    /// Requests whose client was told nothing, or 503.
    pub unknown: usize,
    /// Those of the unknown that turned out to be stored.
    pub unknown_stored: usize,
    pub subscribers: usize,
    /// What can't be true; empty when all is well.
    pub broken: Vec<String>,
}

impl Ledger {
    /// A request is about to be sent, for the first time or again.
    pub(crate) fn asked(&self, project: &str, key: &str) {
        let request = || Request { project: project.into(), answers: Vec::new(), refused: false };
        self.books().requests.entry(key.into()).or_insert_with(request);
    }

    /// It was answered 200.
    pub(crate) fn committed(&self, key: &str, ep: &str, off: u64) {
        let mut books = self.books();
        let request = books.requests.get_mut(key).expect("only what was asked is answered");
        request.answers.push((ep.into(), off));
        books.answered.entry(key.into()).or_insert_with(Instant::now);
    }

    /// It was refused for good (4xx): it must not be stored.
    pub(crate) fn refused(&self, key: &str) {
        self.books().requests.get_mut(key).expect("only what was asked is refused").refused = true;
    }

    /// A subscriber has joined: `body` is its `ProjectJoined`. Every later join is one that asked for what was missed.
    pub(crate) fn joined(&self, subscriber: &str, project: &str, body: &Value) {
        let mut books = self.books();
        let ep = body["ep"].as_str().unwrap_or_default();
        let Some(known) = books.subscribers.get(subscriber) else {
            let after = body["off"].as_u64().expect("ProjectJoined says where the project stands");
            let new = Subscriber { project: project.into(), ep: ep.into(), after, events: Vec::new() };
            books.subscribers.insert(subscriber.into(), new);
            return;
        };
        if body["recovered"] != true || known.ep != ep {
            let problem = format!("{subscriber} came back and was not given what it missed: {body}");
            books.broken.push(problem);
        }
    }

    /// A subscriber was sent a message. Only durable events count.
    pub(crate) fn saw(&self, subscriber: &str, message: &Value) {
        let (Some(ep), Some(off)) = (message["ep"].as_str(), message["off"].as_u64()) else { return };
        // Not an event: where the room stands.
        if message.get("ProjectJoined").is_some() {
            return;
        }
        let mut books = self.books();
        let answered = key_of(message).and_then(|key| books.answered.get(key));
        // Seen before the publisher heard of it: no time at all.
        let waited = answered.map_or(Duration::ZERO, Instant::elapsed);
        books.slowest_event = books.slowest_event.max(waited);
        let known = books.subscribers.get_mut(subscriber).expect("only who has joined sees");
        known.events.push((off, key_of(message).map(str::to_owned)));
        if known.ep != ep {
            let problem = format!("{subscriber}: event {off} is of the history {ep}, it joined {}", known.ep);
            books.broken.push(problem);
        }
    }

    /// The last offset that a subscriber saw, or where it joined.
    pub(crate) fn position(&self, subscriber: &str) -> Option<(String, u64)> {
        let books = self.books();
        let known = books.subscribers.get(subscriber)?;
        Some((known.ep.clone(), known.events.last().map_or(known.after, |(off, _)| *off)))
    }

    /// The highest offset that anyone was told or saw, by project.
    pub(crate) fn head(&self, project: &str) -> u64 {
        self.books().head(project)
    }

    /// Requests that were answered 200 so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.books().requests.values().filter(|request| !request.answers.is_empty()).count()
    }

    /// The longest time from an answer of 200 until somebody saw the event.
    pub(crate) fn slowest_event(&self) -> Duration {
        self.books().slowest_event
    }

    /// Judges. Call it when every subscriber has had the time to see everything.
    pub(crate) fn verdict(&self) -> Verdict {
        self.books().verdict()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A test that panicked while it wrote has failed already.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verdict {
    /// Fails the test unless all is well.
    pub(crate) fn assert_sound(&self) {
        assert!(self.broken.is_empty(), "{self}\n{}", self.broken.join("\n"));
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} acknowledged, {} unknown", self.acknowledged, self.unknown)?;
        if self.unknown > 0 {
            write!(f, " ({} of them stored)", self.unknown_stored)?;
        }
        match self.broken.len() {
            0 => f.write_str(": none lost, none twice, no hole"),
            broken => write!(f, ": {broken} contradictions"),
        }
    }
}

/// The key that an event carries: publishers of these tests put it into the message.
pub(crate) fn key_of(message: &Value) -> Option<&str> {
    message["Notification"]["message"].as_str()
}

impl Books {
    fn head(&self, project: &str) -> u64 {
        let told = self.requests.values().filter(|request| request.project == project);
        let told = told.flat_map(|request| request.answers.iter().map(|(_, off)| *off));
        let seen = self.subscribers.values().filter(|subscriber| subscriber.project == project);
        let seen = seen.flat_map(|subscriber| subscriber.events.iter().map(|(off, _)| *off).chain([subscriber.after]));
        told.chain(seen).max().unwrap_or(0)
    }

    fn verdict(&self) -> Verdict {
        let mut broken = self.broken.clone();
        for (name, subscriber) in &self.subscribers {
            self.order(name, subscriber, &mut broken);
        }
        let history = self.history(&mut broken);
        let mut verdict = Verdict { subscribers: self.subscribers.len(), ..Verdict::default() };
        for (key, request) in &self.requests {
            let places = history.places.get(&(request.project.as_str(), key.as_str()));
            let places = places.map_or(&[][..], Vec::as_slice);
            if places.len() > 1 {
                broken.push(format!("{key} is stored at {places:?}: more than once"));
            }
            if request.answers.iter().any(|answer| *answer != request.answers[0]) {
                broken.push(format!("{key} was answered in different ways: {:?}", request.answers));
            }
            match &request.answers[..] {
                [(_, off), ..] => {
                    verdict.acknowledged += 1;
                    self.acknowledged(key, request, *off, &history, &mut broken);
                }
                [] if request.refused => {
                    verdict.refused += 1;
                    if !places.is_empty() {
                        broken.push(format!("{key} was refused and is stored at {places:?}"));
                    }
                }
                [] => {
                    verdict.unknown += 1;
                    verdict.unknown_stored += usize::from(!places.is_empty());
                }
            }
        }
        Verdict { broken, ..verdict }
    }

    /// One subscriber saw every offset after its join up to the head, each once, in order.
    fn order(&self, name: &str, subscriber: &Subscriber, broken: &mut Vec<String>) {
        let mut next = subscriber.after + 1;
        for (off, key) in &subscriber.events {
            if *off != next {
                let what = if *off < next { "again or late" } else { "after a hole" };
                broken.push(format!("{name}: {off} ({key:?}) came {what}, {next} was next"));
            }
            next = off + 1;
        }
        let head = self.head(&subscriber.project);
        if next <= head {
            broken.push(format!("{name} never saw {next} to {head}"));
        }
    }

    /// What all subscribers together saw; they must agree.
    fn history(&self, broken: &mut Vec<String>) -> History<'_> {
        let mut history = History::default();
        for (name, subscriber) in &self.subscribers {
            for (off, key) in &subscriber.events {
                let at = history.events.entry((subscriber.project.as_str(), *off)).or_insert(key.as_deref());
                if *at != key.as_deref() {
                    broken.push(format!("{name} saw {key:?} at {off}, others {at:?}"));
                }
            }
        }
        for ((project, off), key) in &history.events {
            if let Some(key) = key {
                history.places.entry((project, key)).or_default().push(*off);
            }
        }
        history
    }

    /// Something acknowledged stands where the answer said, for everyone who was there.
    fn acknowledged(&self, key: &str, request: &Request, off: u64, history: &History<'_>, broken: &mut Vec<String>) {
        let watched = self.subscribers.values().any(|s| s.project == request.project && s.after < off);
        match history.events.get(&(request.project.as_str(), off)) {
            Some(seen) if *seen == Some(key) => {}
            Some(seen) => broken.push(format!("{key} was acknowledged at {off}, where {seen:?} is")),
            None if watched => broken.push(format!("{key} was acknowledged at {off} and is lost")),
            None => broken.push(format!("{key} was acknowledged at {off}, and nobody was there to see it")),
        }
    }
}

#[derive(Default)]
struct History<'a> {
    /// Project and offset to the key that stands there, if it is a publication.
    events: BTreeMap<(&'a str, u64), Option<&'a str>>,
    /// Project and key to the offsets at which it stands.
    places: BTreeMap<(&'a str, &'a str), Vec<u64>>,
}
