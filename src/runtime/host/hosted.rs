//! An actor of any type, as registry, watchdog and shutdown see it: looked at, swept, drained, ended, moved. How an actor does it is in
//! `hosting`. Easy to get wrong: these are called by threads that must not wait for a handler, so none of them may take a lock that user
//! code runs under.
use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    handle::{error::StopReason, health::ActorHealth, spec::Restart, state::State},
    host::phase::Life,
    thread::home::{Home, Move},
};

/// What an actor is doing while its snapshot is taken.
pub(crate) const SNAPSHOT: &str = "(snapshot)";

/// An actor of any type, as registry, watchdog and shutdown see it.
pub(crate) trait Hosted: Send + Sync {
    fn id(&self) -> u64;
    fn name(&self) -> &Arc<str>;
    /// Which of the runtime's threads hosts it.
    fn slot(&self) -> usize;
    fn health(&self) -> ActorHealth;
    fn start_limit(&self) -> Duration;
    fn stop_limit(&self) -> Duration;
    fn restart(&self) -> Restart;
    fn watch(&self) -> watch::Receiver<State>;
    fn life(&self) -> watch::Receiver<Life>;
    /// Ends the present instance in order, keeps the queue, and waits for `release`.
    fn hold(&self, attempt: u32, retry_after: Duration, cause: &Arc<str>);
    /// It failed, for `cause`, and waits for `release`; unless the instance of `epoch` was fenced.
    fn park(&self, epoch: u64, cause: &Arc<str>);
    /// Makes an instance again.
    fn release(&self);
    /// The type of the message being handled.
    fn running(&self) -> Option<&'static str>;
    fn stalled(&self, since: Option<Duration>);
    /// Fails what is past its deadline.
    fn sweep(&self, now: u64);
    /// Whether it has something that a later sweep has to look at.
    fn busy(&self) -> bool;
    /// Whether it is off the list of those to be swept; see `Listed::leave`.
    fn leaves(&self) -> bool;
    /// Takes no more messages, finishes those it has, stops.
    fn drain(&self);
    /// Ends now.
    fn end(&self, why: StopReason);
    /// Rebuilds it on `home`, with the same queue; the present instance is fenced.
    fn rehome(self: Arc<Self>, home: &Arc<Home>, why: Move);
}
