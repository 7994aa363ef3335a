//! Moving every actor to a fresh thread: off one that is stuck, or after one that was lost. When that is due is the watchdog's to
//! say. Easy to get wrong: a thread is lost when a handler stops its Arbiter or the System, and the handler that does so at every start
//! would go on for ever, so losses have an intensity of their own, past which the runtime fails.
use std::sync::{Arc, atomic::Ordering};

use tokio::time::Instant;

use crate::{
    handle::{
        error::StopReason,
        event::Event,
        spec::{OnExhausted, Policy},
        state::Stall,
    },
    sync::primitives::lock,
    thread::{
        core::Core,
        home::{Home, Move},
    },
    tree::policy::{Ledger, Verdict},
};

const LOST: &str = "the thread that hosts the actors ended unasked: a handler stopped its Arbiter or its System";

/// Moves everybody off the stuck thread; false when no fresh one can be had.
pub(crate) fn off_stuck(core: &Arc<Core>, stuck: &Arc<Home>, stall: &Stall) -> bool {
    let actors = match move_all(core, stuck, Move::Stuck(stall.for_)) {
        Moved::Actors(actors) => actors,
        Moved::Before => return true,
        Moved::Nowhere => return false,
    };
    lock(&core.stalls).remove(&stuck.slot);
    core.emit(&Event::Rehomed { stall: stall.clone(), actors });
    true
}

/// Rebuilds everybody of these threads on fresh ones, up to the default intensity of each; past it the runtime has failed. A stop of the
/// System is one loss of every thread. `losses` has one ledger per thread.
pub(crate) fn after_loss(core: &Arc<Core>, lost: &[Arc<Home>], losses: &mut [Ledger]) {
    if lost.is_empty() || core.unhosted.load(Ordering::Acquire) {
        return;
    }
    log::error!("{LOST} threads={}", lost.len());
    for home in lost {
        core.lost_threads.fetch_add(1, Ordering::Relaxed);
        lock(&core.stalls).remove(&home.slot);
    }
    let (policy, now) = (Policy::default(), Instant::now().into_std());
    for home in lost {
        if losses[home.slot].failed(&policy, now, 0.0) == Verdict::Exhausted {
            let (n, window) = (policy.max_failures, policy.window);
            return give_up(core, &format!("more than {n} times in {window:?} {LOST}").into());
        }
    }
    for home in lost {
        match move_all(core, home, Move::Lost) {
            Moved::Actors(actors) => core.emit(&Event::ThreadLost { actors }),
            Moved::Before => {}
            Moved::Nowhere => return give_up(core, &format!("{LOST}; no other could be started").into()),
        }
    }
}

/// What became of a move.
enum Moved {
    /// So many actors moved.
    Actors(usize),
    /// They had moved before: a watchdog that was held up by user code looks at a thread that another has replaced.
    Before,
    /// No fresh thread can be had.
    Nowhere,
}

fn move_all(core: &Arc<Core>, from: &Arc<Home>, why: Move) -> Moved {
    let is_current = |homes: &[Arc<Home>]| Arc::ptr_eq(&homes[from.slot], from);
    if !is_current(&lock(&core.homes)) {
        return Moved::Before;
    }
    let fresh = match from.successor(Core::next_id(), &core.control) {
        Ok(fresh) => fresh,
        Err(e) => {
            log::error!("no fresh thread for the actors: {e}");
            return Moved::Nowhere;
        }
    };
    {
        let mut homes = lock(&core.homes);
        if !is_current(&homes) {
            drop(homes);
            fresh.stop();
            // Joined at the end like any other.
            lock(&core.retired).push(fresh);
            return Moved::Before;
        }
        homes[from.slot] = fresh.clone();
    }
    lock(&core.retired).push(from.clone());
    from.retire();
    let actors: Vec<_> = core.actors().into_iter().filter(|actor| actor.slot() == from.slot).collect();
    let moved = actors.len();
    for hosted in actors {
        core.guarded("(a move)", || hosted.rehome(&fresh, why));
    }
    Moved::Actors(moved)
}

/// No thread hosts actors any more: those there are end, none starts, and the owner is told why.
fn give_up(core: &Arc<Core>, cause: &Arc<str>) {
    {
        // Beside a start: it has seen this, or its actor is among those below.
        let _homes = lock(&core.homes);
        core.unhosted.store(true, Ordering::Release);
    }
    core.exhausted(&core.name.as_str().into(), OnExhausted::Escalate, cause);
    for hosted in core.actors().into_iter().rev() {
        core.guarded("(an end)", || {
            hosted.end(StopReason::ThreadLost);
            drop(hosted);
        });
    }
    for group in core.groups() {
        group.finish(StopReason::ThreadLost);
    }
}
