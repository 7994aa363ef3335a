//! The actor of the supervision tests: it logs its starts and stops under its name, and fails where it is told to. Easy to
//! get wrong: the log is shared by all members, so its order is the order of the whole tree.
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use actix::prelude::*;
use tieout_runtime::ChildSpec;

use crate::actor::{LIMIT, Log, quick};

/// What all instances of one member share.
#[derive(Clone, Default)]
pub(crate) struct Fate {
    /// So many of the next starts fail.
    pub failing_starts: Arc<AtomicUsize>,
    /// The next `stopped()` blocks on it.
    pub block_in_stopped: Arc<Mutex<Option<mpsc::Receiver<()>>>>,
}

pub(crate) struct Leaf {
    name: &'static str,
    log: Log,
    fate: Fate,
    sum: u64,
}

impl Actor for Leaf {
    type Context = Context<Self>;
    fn started(&mut self, _: &mut Self::Context) {
        let left = self.fate.failing_starts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        assert!(left.is_err(), "{} does not start", self.name);
        self.log.say(format!("+{}", self.name));
    }
    fn stopped(&mut self, _: &mut Self::Context) {
        if let Some(gate) = self.fate.block_in_stopped.lock().unwrap().take() {
            let _ = gate.recv_timeout(LIMIT);
        }
        self.log.say(format!("-{}", self.name));
    }
}

/// Adds and answers the sum.
#[derive(Message, Debug, PartialEq)]
#[rtype(result = "u64")]
pub(crate) struct Add(pub u64);
impl Handler<Add> for Leaf {
    type Result = u64;
    fn handle(&mut self, Add(n): Add, _: &mut Self::Context) -> u64 {
        self.sum += n;
        self.sum
    }
}

/// Panics.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Fail;
impl Handler<Fail> for Leaf {
    type Result = ();
    fn handle(&mut self, _: Fail, _: &mut Self::Context) {
        panic!("{} fails", self.name);
    }
}

/// Stops in order.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Finish;
impl Handler<Finish> for Leaf {
    type Result = ();
    fn handle(&mut self, _: Finish, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// Never answers by itself; the reply belongs to the instance.
#[derive(Message)]
#[rtype(result = "u64")]
pub(crate) struct Never;
impl Handler<Never> for Leaf {
    type Result = ResponseActFuture<Self, u64>;
    fn handle(&mut self, _: Never, _: &mut Self::Context) -> Self::Result {
        Box::pin(std::future::pending::<u64>().into_actor(self))
    }
}

pub(crate) fn leaf(name: &'static str, log: &Log) -> ChildSpec<Leaf> {
    fated(name, log, Fate::default())
}

pub(crate) fn fated(name: &'static str, log: &Log, fate: Fate) -> ChildSpec<Leaf> {
    let log = log.clone();
    ChildSpec::new(name, move |_| Leaf { name, log: log.clone(), fate: fate.clone(), sum: 0 }).backoff(quick())
}
