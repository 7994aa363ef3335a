//! Words between processes on one PostgreSQL, by LISTEN and NOTIFY: which project has new events.
//!
//! It is how replicas hear of each other's commits while there is no other way; it leaves reading the events to whoever hears.
//! The one thing easy to get wrong: what is said while nobody listens is lost, so whenever listening begins anew, the
//! listener is told that it may have missed something.
use super::{Connector, Hearer};
use crate::db::error::with_sources;
use crate::db::store::{Place, Store};
use crate::protocol::ids::ProjectId;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};
use tokio_util::sync::CancellationToken;

/// The channel's name on the server.
const CHANNEL: &str = "tieout.events";
/// Words that wait to be said, or to be heard; past it they are dropped, and the listener is told so.
const WAITING: usize = 4_096;
/// Projects named by one statement.
const AT_ONCE: usize = 256;
/// Between two tries to listen.
const RETRY: Duration = Duration::from_millis(500);
/// A listener that hears nothing is asked this often whether it is still there.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Another process has committed an event of this project.
    Project(ProjectId),
    /// Something may have been missed: look at every project that matters.
    Missed,
}

/// Says that projects have new events. Cheap to clone; never blocks.
#[derive(Debug, Clone)]
pub struct Waker(mpsc::Sender<ProjectId>);

impl Waker {
    /// The other processes hear of it soon, unless the database is away: then they look by themselves when it is back.
    pub fn wake(&self, project: ProjectId) {
        // When too many wait, the listeners' own looks at the store find what is not said.
        if self.0.try_send(project).is_err() {
            log::debug!("a wake-up was dropped project={project}");
        }
    }
}

/// Both directions.
#[derive(Debug)]
pub struct Wakeups {
    /// To speak.
    pub waker: Waker,
    /// What is heard; it ends with the store.
    pub heard: mpsc::Receiver<Heard>,
}

/// Begins to listen and to speak as `speaker`, whose own words are not heard; none on SQLite, which has no other process.
/// Both end with the store.
pub fn start(store: &Store, speaker: &str) -> Option<Wakeups> {
    let Place::Postgres(address) = &store.options().place else { return None };
    let connector = match Connector::new((**address).clone(), store.options().statement_timeout, store.process()) {
        Ok(connector) => connector,
        Err(error) => {
            // The store was started with it a moment ago.
            log::error!("cannot listen for wake-ups error={error}");
            return None;
        }
    };
    let (say, said) = mpsc::channel(WAITING);
    let (tell, heard) = mpsc::channel(WAITING);
    let talk = Talk { store: store.clone(), connector, speaker: speaker.to_owned(), tell };
    // Not among the tasks that the store's stop waits for: it ends by the store's closing.
    store.runtime().spawn(talk.run(said, store.closing()));
    Some(Wakeups { waker: Waker(say), heard })
}

struct Talk {
    store: Store,
    connector: Connector,
    speaker: String,
    tell: mpsc::Sender<Heard>,
}

impl Talk {
    async fn run(self, mut said: mpsc::Receiver<ProjectId>, closing: CancellationToken) {
        loop {
            let talked = tokio::select! {
                talked = self.talk(&mut said) => talked,
                () = closing.cancelled() => return,
            };
            match talked {
                Ok(()) => return,
                Err(reason) => log::debug!("wake-ups are not heard reason={reason:?}"),
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = closing.cancelled() => return,
            }
        }
    }

    /// Listens and speaks until the connection breaks, or nobody wants to hear any longer.
    async fn talk(&self, said: &mut mpsc::Receiver<ProjectId>) -> Result<(), String> {
        if !self.store.ready_within(Duration::MAX).await {
            return Ok(());
        }
        let (heard, mut notices) = mpsc::channel::<String>(WAITING);
        let missed = tokio_util::sync::CancellationToken::new();
        let overflow = missed.clone();
        let hearer: Hearer = Arc::new(move |notice| {
            if heard.try_send(notice.to_owned()).is_err() {
                overflow.cancel();
            }
        });
        let client = self.connector.client(Some(hearer)).await.map_err(|error| with_sources(&error))?;
        answered(timeout(ANSWER, client.batch_execute(&format!("LISTEN \"{CHANNEL}\""))).await)?;
        if self.tell.send(Heard::Missed).await.is_err() {
            return Ok(());
        }
        let mut alive = tokio::time::interval(ALIVE_EVERY);
        loop {
            tokio::select! {
                notice = notices.recv() => {
                    let Some(notice) = notice else { return Err("the connection ended".into()) };
                    if !self.hear(&notice).await {
                        return Ok(());
                    }
                }
                project = said.recv() => {
                    let Some(project) = project else { return Ok(()) };
                    self.say(&client, project, said).await?;
                }
                () = missed.cancelled() => return Err("more was said than could be heard".into()),
                _ = alive.tick() => answered(timeout(ANSWER, client.batch_execute("")).await)?,
            }
        }
    }

    /// False when nobody listens any longer.
    async fn hear(&self, notice: &str) -> bool {
        match notice.split_once(' ') {
            Some((speaker, _)) if speaker == self.speaker => true,
            Some((_, project)) => match project.parse() {
                Ok(project) => self.tell.send(Heard::Project(project)).await.is_ok(),
                Err(_) => {
                    log::warn!("a wake-up names no project: {notice:?}");
                    true
                }
            },
            None => true,
        }
    }

    /// One statement for all that waits: each project once.
    async fn say(&self, client: &Client, first: ProjectId, said: &mut mpsc::Receiver<ProjectId>) -> Result<(), String> {
        let mut projects = BTreeSet::from([first.to_string()]);
        while projects.len() < AT_ONCE
            && let Ok(more) = said.try_recv()
        {
            projects.insert(more.to_string());
        }
        let words: Vec<String> = projects.into_iter().map(|project| format!("{} {project}", self.speaker)).collect();
        let statement = "SELECT pg_notify($1, word) FROM unnest($2) AS word";
        let words: [(&(dyn ToSql + Sync), Type); 2] = [(&CHANNEL, Type::TEXT), (&words, Type::TEXT_ARRAY)];
        answered(timeout(ANSWER, client.query_typed(statement, &words)).await).map(drop)
    }
}

/// What a connection that works does in no time. One whose other end is gone says nothing for ever.
fn answered<T>(done: Result<Result<T, tokio_postgres::Error>, Elapsed>) -> Result<T, String> {
    match done {
        Ok(done) => done.map_err(|error| with_sources(&error)),
        Err(_elapsed) => Err(format!("no answer in {ANSWER:?}")),
    }
}
