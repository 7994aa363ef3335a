//! Replicas on a bus or on a Redis of their own, what they say and hear, and waiting until they are in touch.
//!
//! Leaves every promise to the tests. Easy to get wrong: over Redis a follow takes effect a moment later, so a test first
//! waits until a message gets through.
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tieout::cluster::{Channel, Incoming, Link, LocalBus, Options, Relay, ReplicaId};
use tokio::sync::mpsc::Receiver;

use crate::support::redis::Redis;
use crate::support::{LONG, SHORT, within};

/// Where replicas meet.
pub(crate) enum Ground {
    Local(LocalBus),
    Redis(Redis),
    Cluster(Vec<Redis>),
}

impl Ground {
    pub(crate) fn in_process() -> Self {
        Self::Local(LocalBus::new())
    }

    pub(crate) fn over_redis() -> Self {
        Self::Redis(Redis::start())
    }

    pub(crate) async fn over_a_cluster() -> Self {
        Self::Cluster(crate::relay_cluster::cluster().await.into())
    }

    /// A replica whose messages get through.
    pub(crate) async fn replica(&self, name: &str) -> Replica {
        match self {
            Self::Local(bus) => Replica::new(Relay::local(bus, ReplicaId::new(name))),
            Self::Redis(server) => Self::started(name, std::slice::from_ref(server)).await,
            Self::Cluster(servers) => Self::started(name, servers).await,
        }
    }

    async fn started(name: &str, servers: &[Redis]) -> Replica {
        let urls: Vec<_> = servers.iter().map(|server| url(server.port)).collect();
        let urls: Vec<_> = urls.iter().map(String::as_str).collect();
        let replica = Replica::start(&options(name, &urls));
        replica.up().await;
        replica
    }
}

/// The address of a server or proxy without a password.
pub(crate) fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

/// Options with short times.
pub(crate) fn options(name: &str, urls: &[&str]) -> Options {
    let mut options = Options::new(ReplicaId::new(name));
    options.urls = urls.iter().map(|url| (*url).to_owned()).collect();
    options.probe_every = Duration::from_millis(200);
    options.answer_within = Duration::from_millis(700);
    options
}

/// A relay with its receiving end.
pub(crate) struct Replica {
    pub relay: Relay,
    pub incoming: Receiver<Incoming>,
}

impl Replica {
    pub(crate) fn start(options: &Options) -> Self {
        Self::new(Relay::start(options).expect("options that can work"))
    }

    pub(crate) fn new(relay: Relay) -> Self {
        let incoming = relay.incoming().expect("given once");
        Self { relay, incoming }
    }

    pub(crate) fn say(&self, channel: Channel, text: &str) {
        self.relay.publish(channel, Bytes::copy_from_slice(text.as_bytes()));
    }

    /// The next message's text.
    pub(crate) async fn next(&mut self) -> String {
        self.next_from().await.1
    }

    /// The next message's sender and text.
    pub(crate) async fn next_from(&mut self) -> (ReplicaId, String) {
        let message = within(SHORT, "a message", self.incoming.recv()).await.expect("the relay lives");
        (message.from, String::from_utf8(message.payload.to_vec()).expect("a text"))
    }

    /// Waits until messages get through.
    pub(crate) async fn up(&self) {
        let mut link = self.relay.link();
        let seen = tokio::time::timeout(LONG, link.wait_for(Link::is_up)).await.is_ok();
        assert!(seen, "waited {LONG:?} for the link to be up: {:?}", *self.relay.link().borrow());
    }

    /// Waits until messages are known not to get through; the reason.
    pub(crate) async fn down(&self) -> String {
        let mut link = self.relay.link();
        let seen = within(LONG, "the link to be down", link.wait_for(|link| !link.is_up())).await;
        match &*seen.expect("the relay lives") {
            Link::Down { reason } => reason.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn gaps(&self) -> u64 {
        *self.relay.gaps().borrow()
    }

    /// Waits until what `other` says over `channel` is heard here; nothing of it is left to be read.
    pub(crate) async fn hears(&mut self, other: &Replica, channel: Channel) {
        static WORDS: AtomicU32 = AtomicU32::new(0);
        let word = format!("do you hear? {}", WORDS.fetch_add(1, Ordering::Relaxed));
        within(LONG, "a message to get through", async {
            loop {
                other.say(channel, &word);
                if tokio::time::timeout(Duration::from_millis(50), self.next()).await.is_ok() {
                    return;
                }
            }
        })
        .await;
        // One sender's messages keep their order: behind this one there is nothing.
        let last = format!("{word}, the last");
        other.say(channel, &last);
        while self.next().await != last {}
    }
}
