//! What the actor runtime tells, as metrics: restarts, stalls, moves, escalations, lost messages. The runtime's own word is in
//! `runtime::Event`; this is the callback that `app` plugs in. Easy to get wrong: it is called on the thread where the thing happens,
//! the actors' one among them, so it only counts; and a runner is named after its job, so its name is no label.
//!
//! | metric | labels |
//! |---|---|
//! | `tieout_actor_restarts_total` | `actor`, `reason` (`panicked`, `stopped_itself`, `start_failed`, `group`, `rehomed`) |
//! | `tieout_actor_panics_total` | `actor`, `message` |
//! | `tieout_actor_stalls_total` | `actor`, `message`; a handler ran longer than two seconds |
//! | `tieout_actor_stalled_seconds` | `actor`; how long it took in the end, or until its actors were moved |
//! | `tieout_actor_rehomes_total` | `result` (`moved`, `stayed`) |
//! | `tieout_actor_escalations_total` | `child`, `to` (a group, or `runtime`: the process ends) |
//! | `tieout_actor_dead_letters_total` | `actor`, `reason` (`stopped`, `overflow`, `expired`, `withdrawn`) |
use crate::{actors::jobs, runtime::Event};
use metrics::{counter, histogram};

/// Counts it.
pub fn count(event: &Event) {
    match event {
        Event::Restarting { actor, reason, .. } => {
            counter!("tieout_actor_restarts_total", "actor" => label(actor), "reason" => reason.code()).increment(1);
        }
        Event::Panicked(info) => {
            let message = info.message.unwrap_or("none");
            counter!("tieout_actor_panics_total", "actor" => label(&info.actor), "message" => message).increment(1);
        }
        Event::Stalled(stall) => {
            let actor = label(&stall.actor);
            counter!("tieout_actor_stalls_total", "actor" => actor, "message" => stall.message).increment(1);
        }
        Event::Recovered(stall) => {
            histogram!("tieout_actor_stalled_seconds", "actor" => label(&stall.actor)).record(stall.for_);
        }
        Event::Rehomed { stall, .. } => {
            histogram!("tieout_actor_stalled_seconds", "actor" => label(&stall.actor)).record(stall.for_);
            counter!("tieout_actor_rehomes_total", "result" => "moved").increment(1);
        }
        Event::NotRehomed { .. } => counter!("tieout_actor_rehomes_total", "result" => "stayed").increment(1),
        Event::Escalated { child, to, .. } => {
            let to = to.as_deref().unwrap_or("runtime").to_owned();
            counter!("tieout_actor_escalations_total", "child" => label(child), "to" => to).increment(1);
        }
        Event::DeadLetter { actor, reason, .. } => {
            counter!("tieout_actor_dead_letters_total", "actor" => label(actor), "reason" => *reason).increment(1);
        }
        _ => {}
    }
}

/// The actor's name; one for all runners.
fn label(actor: &str) -> String {
    if jobs::is_runner(actor) { "job-runner".to_owned() } else { actor.to_owned() }
}
