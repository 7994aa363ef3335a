//! The handle: tell the others, follow rooms, know how the link is.
//!
//! Safe to use on the actor's thread: it puts things into bounded queues and does no I/O. Easy to get wrong: a replica
//! that is alone makes nothing for the relay, so ask [`Mesh::is_alone`] before something is encoded for it.
use super::asking::Asks;
use super::expelling::Expels;
use super::limits::MeshLimits;
use super::wire::Message;
use crate::cluster::{Channel, Link, Relay};
use crate::db::postgres::wakeups::Waker;
use crate::protocol::ids::ProjectId;
use bytes::Bytes;
use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Notify, mpsc};

/// What the hub has to say may wait for the task that encodes it; past it it is dropped.
const MAX_MAIL: usize = 8_192;

/// Least time between signs of life that are not due.
const GREET_EVERY: Duration = Duration::from_secs(1);

/// Something for the others.
#[derive(Debug)]
pub struct Mail {
    /// To whom.
    pub channel: Channel,
    /// What.
    pub message: Message,
    /// The frame that goes with it.
    pub frame: Bytes,
}

/// One replica's end of the mesh.
#[derive(Debug)]
pub struct Mesh {
    /// The way to the others.
    pub relay: Relay,
    /// Times.
    pub limits: MeshLimits,
    mail: mpsc::Sender<Mail>,
    waiting: Mutex<Option<mpsc::Receiver<Mail>>>,
    followed: Mutex<HashSet<ProjectId>>,
    /// Questions and answers.
    pub(super) asks: Asks,
    /// Users sent away, as long as not all replicas have confirmed it.
    pub(super) expels: Expels,
    /// It has said goodbye.
    gone: AtomicBool,
    /// How others are told of commits while there is no relay between us.
    waker: Option<Waker>,
    /// There is none.
    by_store: AtomicBool,
    /// A room was followed since somebody looked.
    fresh: AtomicBool,
    /// Something that others said may not have come.
    missed: Notify,
    /// When an unasked-for sign of life was last given.
    greeted: Mutex<Option<Instant>>,
}

impl Mesh {
    /// On `relay`.
    pub fn new(relay: Relay, limits: MeshLimits, waker: Option<Waker>) -> Self {
        let (mail, waiting) = mpsc::channel(MAX_MAIL);
        let (waiting, followed) = (Mutex::new(Some(waiting)), Mutex::default());
        Self {
            relay,
            limits,
            mail,
            waiting,
            followed,
            asks: Asks::default(),
            expels: Expels::default(),
            gone: AtomicBool::new(false),
            waker,
            by_store: AtomicBool::new(true),
            fresh: AtomicBool::new(false),
            missed: Notify::new(),
            greeted: Mutex::default(),
        }
    }

    /// Nobody else can hear.
    pub fn is_alone(&self) -> bool {
        self.relay.is_alone()
    }

    /// How the link is now.
    pub fn state(&self) -> Link {
        self.relay.link().borrow().clone()
    }

    /// Whether others are told of commits by the store.
    pub(super) fn wake_by_store(&self, by_store: bool) {
        self.by_store.store(by_store, Relaxed);
    }

    /// Something was committed in a project: the others are told by the store, if nothing else tells them.
    pub fn committed(&self, project: ProjectId) {
        if let Some(waker) = &self.waker
            && self.by_store.load(Relaxed)
        {
            waker.wake(project);
        }
    }

    /// Tell the others, encoded by this caller.
    pub fn tell(&self, channel: Channel, message: &Message, frame: &[u8]) {
        if !self.is_alone() {
            self.relay.publish(channel, message.encode(frame));
        }
    }

    /// Tell the others, encoded by a task of its own; for the actor's thread. What one caller mails keeps its order.
    pub fn mail(&self, mail: Mail) {
        if !self.is_alone() && !self.gone.load(Relaxed) && self.mail.try_send(mail).is_err() {
            metrics::counter!("tieout_relay_dropped_total", "reason" => "mail_full").increment(1);
        }
    }

    /// This replica goes: its clients are the others' from now on. Events that are still committed here are told.
    pub fn say_goodbye(&self) {
        self.mail(Mail { channel: Channel::All, message: Message::Goodbye {}, frame: Bytes::new() });
        self.gone.store(true, Relaxed);
    }

    pub(super) fn take_mail(&self) -> Option<mpsc::Receiver<Mail>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Hear what is said about a room from now on.
    pub fn follow(&self, project: ProjectId) {
        self.relay.follow(Channel::Room(project));
        self.followed().insert(project);
        self.fresh.store(true, Relaxed);
    }

    /// Whether a room is followed.
    pub fn follows(&self, project: ProjectId) -> bool {
        self.followed().contains(&project)
    }

    /// Let go of the rooms that are no longer kept; there are `many` that are.
    pub fn follow_only(&self, many: usize, kept: impl Fn(ProjectId) -> bool) {
        let mut followed = self.followed();
        if followed.len() > many {
            for project in followed.extract_if(|project| !kept(*project)) {
                self.relay.unfollow(Channel::Room(project));
            }
        }
    }

    /// What others said may not have come: all is to be compared with the store.
    pub(super) fn note_missed(&self) {
        self.missed.notify_one();
    }

    /// When something may not have come since this was last waited for.
    pub(super) async fn missed(&self) {
        self.missed.notified().await;
    }

    /// Whether a sign of life may be given out of turn: when many replicas come back at once, one is for all of them.
    pub(super) fn may_greet(&self) -> bool {
        let mut greeted = self.greeted.lock().unwrap_or_else(PoisonError::into_inner);
        let may = greeted.is_none_or(|at| at.elapsed() >= GREET_EVERY);
        if may {
            *greeted = Some(Instant::now());
        }
        may
    }

    pub(super) fn take_fresh(&self) -> bool {
        self.fresh.swap(false, Relaxed)
    }

    fn followed(&self) -> MutexGuard<'_, HashSet<ProjectId>> {
        // Every change is complete when it could panic.
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
