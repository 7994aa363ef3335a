//! Faults on demand: an envelope of our own that any actor can be sent, so that the actor under test needs no message for
//! it. Easy to get wrong: a stall under virtual time has to let the watchdog look in between, as its own thread would.
use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix::{Actor, Context};

use super::local;
use crate::{
    handle::{addr::Addr, send_error::SendError},
    mailbox::{
        door::{Lane, Offer},
        envelope::{Envelope, Failure, Item},
        replies::Replies,
        times::Times,
    },
};

/// The text of an injected panic.
pub const INJECTED: &str = "injected by the test";

enum What {
    Panic,
    Stall(Duration),
}

struct Fault {
    what: What,
    times: Times,
    done: AtomicBool,
}

impl<A: Actor<Context = Context<A>>> Envelope<A> for Fault {
    fn message(&self) -> &'static str {
        match self.what {
            What::Panic => "(injected panic)",
            What::Stall(_) => "(injected stall)",
        }
    }

    fn times(&self) -> &Times {
        &self.times
    }

    fn run(&self, _: &Item<A>, _: &mut A, _: &mut Context<A>, _: &Arc<Replies<A>>) {
        if self.done.swap(true, Ordering::AcqRel) {
            return;
        }
        match self.what {
            What::Panic => panic!("{INJECTED}"),
            What::Stall(d) => local::block_for(d),
        }
    }

    fn deliver(&self, _: &mut dyn Any) {}

    fn fail(&self, _: &Failure) -> bool {
        !self.done.swap(true, Ordering::AcqRel)
    }
}

/// Queues a fault like a message; refused as a message would be, but never made to wait.
fn inject<A: Actor<Context = Context<A>>>(addr: &Addr<A>, what: What) -> Result<(), SendError<()>> {
    let times = addr.shared.core.times(u64::MAX);
    let fault: Item<A> = Arc::new(Fault { what, times, done: AtomicBool::new(false) });
    match addr.shared.offer(fault, Lane::Normal) {
        Offer::Accepted => Ok(()),
        Offer::Full(_) => Err(SendError::MailboxFull(())),
        Offer::Closed => Err(addr.shared.refusal(())),
    }
}

/// Makes the actor panic with the text [`INJECTED`] when this comes up in its queue. Works on a `Runtime` too.
///
/// Errors: as of `Addr::try_tell`.
pub fn inject_panic<A: Actor<Context = Context<A>>>(addr: &Addr<A>) -> Result<(), SendError<()>> {
    inject(addr, What::Panic)
}

/// Makes the actor block its thread for `d` when this comes up in its queue, as a handler that computes or waits would. On a
/// `TestRuntime` `d` is virtual: nothing else runs meanwhile but the watchdog, whose verdicts come as they would on a thread of
/// its own. On a `Runtime` the thread really sleeps.
///
/// Errors: as of `Addr::try_tell`.
pub fn stall<A: Actor<Context = Context<A>>>(addr: &Addr<A>, d: Duration) -> Result<(), SendError<()>> {
    inject(addr, What::Stall(d))
}
