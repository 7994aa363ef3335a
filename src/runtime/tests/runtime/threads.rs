//! Several threads in one runtime: who is where, and what one thread's trouble means to the others. Easy to get wrong: an actor's thread is
//! its placement's, not its starter's.
use std::{
    collections::HashSet,
    sync::mpsc,
    thread::{self, ThreadId},
    time::Duration,
};

use actix::prelude::*;
use tieout_runtime::{Addr, Event, GroupSpec, OnStall, Placement, Runtime, State, Strategy};

use crate::actor::{Act, Add, Boom, LIMIT, Log, block, event, spec, state, stop};

#[derive(Message)]
#[rtype(result = "Where")]
struct Whereabouts;
#[derive(MessageResponse, Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Where(ThreadId);
impl Handler<Whereabouts> for Act {
    type Result = Where;
    fn handle(&mut self, _: Whereabouts, _: &mut Context<Self>) -> Where {
        Where(thread::current().id())
    }
}

/// Asks the next actor to add, and adds the answer; the last just adds.
#[derive(Message)]
#[rtype(result = "u64")]
struct Along(Vec<Addr<Act>>);
impl Handler<Along> for Act {
    type Result = ResponseActFuture<Self, u64>;
    fn handle(&mut self, Along(mut way): Along, _: &mut Context<Self>) -> Self::Result {
        let next = way.pop().map(|next| next.ask(Along(way)));
        let sum = async move {
            match next {
                Some(ask) => ask.await.unwrap(),
                None => 0,
            }
        };
        Box::pin(sum.into_actor(self).map(|sum, act, _| {
            act.sum += 1;
            sum + act.sum
        }))
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct StopSystem;
impl Handler<StopSystem> for Act {
    type Result = ();
    fn handle(&mut self, _: StopSystem, _: &mut Context<Self>) {
        System::current().stop();
    }
}

async fn on(rt: &Runtime, name: &str, placement: Placement) -> Addr<Act> {
    rt.supervise(spec(name, &Log::default()).placement(placement)).await.unwrap()
}

async fn place(addr: &Addr<Act>) -> Where {
    addr.ask(Whereabouts).await.unwrap()
}

#[tokio::test]
async fn actors_are_spread_or_placed_over_the_threads_there_are_and_stay_there_across_restarts() {
    let rt = Runtime::builder().threads(3).start().unwrap();
    let mut places = HashSet::new();
    let mut spread = Vec::new();
    for n in 0..6 {
        let act = on(&rt, &format!("spread-{n}"), Placement::Spread).await;
        places.insert(place(&act).await);
        spread.push(act);
    }
    assert_eq!(places.len(), 3);
    let (one, same) = (on(&rt, "one", Placement::Thread(1)).await, on(&rt, "same", Placement::Thread(4)).await);
    let other = on(&rt, "other", Placement::Thread(2)).await;
    assert_eq!(place(&one).await, place(&same).await);
    assert_ne!(place(&one).await, place(&other).await);
    let before = place(&one).await;
    one.ask(Boom).await.unwrap_err();
    assert_eq!(place(&one).await, before, "the next instance");
    // Asks go round over all threads, and the shutdown follows the order of starts.
    assert_eq!(one.ask(Along(spread.clone())).await.unwrap(), 7);
    let report = rt.shutdown(LIMIT).await;
    assert!(report.clean() && report.leaked_threads.is_empty(), "{report:?}");
    let names: Vec<_> = report.drained.iter().map(|name| &**name).collect();
    assert_eq!(names[..4], ["other", "same", "one", "spread-5"]);
}

#[tokio::test]
async fn one_thread_is_the_default_wherever_actors_are_placed() {
    let rt = Runtime::builder().start().unwrap();
    let (one, other) = (on(&rt, "one", Placement::Spread).await, on(&rt, "other", Placement::Thread(7)).await);
    assert_eq!(place(&one).await, place(&other).await);
    stop(rt).await;
}

#[tokio::test]
async fn a_stuck_handler_stops_and_moves_the_actors_of_its_own_thread_alone() {
    let rt = Runtime::builder()
        .threads(2)
        .stall_after(Duration::from_millis(200))
        .on_stall(OnStall::Rehome)
        .start()
        .unwrap();
    let mut events = rt.events();
    let stuck = on(&rt, "stuck", Placement::Thread(0)).await;
    let beside = on(&rt, "beside", Placement::Thread(0)).await;
    let apart = on(&rt, "apart", Placement::Thread(1)).await;
    for act in [&stuck, &beside, &apart] {
        assert_eq!(act.ask(Add(1)).await.unwrap(), 1);
    }
    let (gate, open, entered) = block();
    stuck.tell(gate).await.unwrap();
    tokio::task::spawn_blocking(move || entered.recv_timeout(LIMIT).unwrap()).await.unwrap();
    assert_eq!(apart.ask(Add(1)).await.unwrap(), 2, "at once");
    let moved = event(&mut events, "the move", |e| matches!(e, Event::Rehomed { .. })).await;
    let Event::Rehomed { stall, actors: 2 } = &moved else { panic!("{moved:?}") };
    assert_eq!(&*stall.actor, "stuck");
    assert_eq!(beside.ask(Add(1)).await.unwrap(), 1, "a new instance");
    assert_eq!(apart.ask(Add(1)).await.unwrap(), 3, "the same instance");
    let restarts: Vec<_> = rt.health().actors.iter().map(|a| (a.name.to_string(), a.restarts)).collect();
    assert_eq!(restarts, [("stuck".to_owned(), 1), ("beside".to_owned(), 1), ("apart".to_owned(), 0)]);
    open.send(()).unwrap();
    let freed = async {
        while rt.health().leaked_threads > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, freed).await.expect("the zombie ends");
    stop(rt).await;
}

#[tokio::test]
async fn two_threads_may_be_stuck_at_once_and_each_is_named_and_recovers() {
    let rt = Runtime::builder().threads(2).stall_after(Duration::from_millis(200)).start().unwrap();
    let acts = [on(&rt, "zero", Placement::Thread(0)).await, on(&rt, "one", Placement::Thread(1)).await];
    let mut gates: Vec<mpsc::Sender<()>> = Vec::new();
    for act in &acts {
        let (gate, open, entered) = block();
        act.tell(gate).await.unwrap();
        tokio::task::spawn_blocking(move || entered.recv_timeout(LIMIT).unwrap()).await.unwrap();
        gates.push(open);
    }
    for act in &acts {
        state(act, "the stall", |s| matches!(s, State::Stalled { .. })).await;
    }
    drop(gates.pop());
    state(&acts[1], "its end", |s| *s == State::Running).await;
    assert!(matches!(acts[0].watch().get(), State::Stalled { .. }), "the other is stuck still");
    assert_eq!(&*rt.health().stalled.unwrap().actor, "zero");
    drop(gates);
    state(&acts[0], "its end", |s| *s == State::Running).await;
    stop(rt).await;
}

#[tokio::test]
async fn a_group_over_several_threads_is_restarted_together() {
    let rt = Runtime::builder().threads(2).start().unwrap();
    let group = rt.group(GroupSpec::new("group", Strategy::OneForAll)).unwrap();
    let mut members = Vec::new();
    for n in 0..4 {
        let spec = spec(&format!("member-{n}"), &Log::default()).placement(Placement::Thread(n));
        members.push(group.supervise(spec).await.unwrap());
        assert_eq!(members[n].ask(Add(5)).await.unwrap(), 5);
    }
    let mut restarts = group.restarts();
    members[2].ask(Boom).await.unwrap_err();
    tokio::time::timeout(LIMIT, restarts.wait_for(|n| *n == 1)).await.unwrap().unwrap();
    for member in &members {
        assert_eq!(member.ask(Add(1)).await.unwrap(), 1);
    }
    stop(rt).await;
}

#[derive(Message)]
#[rtype(result = "()")]
struct StopArbiter;
impl Handler<StopArbiter> for Act {
    type Result = ();
    fn handle(&mut self, _: StopArbiter, _: &mut Context<Self>) {
        actix_rt::Arbiter::current().stop();
    }
}

#[tokio::test]
async fn threads_that_are_lost_one_after_another_do_not_use_up_each_others_intensity() {
    let rt = Runtime::builder().threads(6).start().unwrap();
    let mut acts = Vec::new();
    for n in 0..6 {
        acts.push(on(&rt, &format!("act-{n}"), Placement::Thread(n)).await);
    }
    // Six losses in six looks of the watchdog, where a single thread may have five.
    for act in &acts {
        let mut events = rt.events();
        act.tell(StopArbiter).await.unwrap();
        event(&mut events, "the loss", |e| matches!(e, Event::ThreadLost { actors: 1 })).await;
        assert_eq!(act.ask(Add(1)).await.unwrap(), 1);
    }
    let health = rt.health();
    assert!(health.failed.is_none() && health.lost_threads == 6, "{health:?}");
    assert!(rt.shutdown(LIMIT).await.timed_out.is_empty());
}

#[tokio::test]
async fn a_handler_that_stops_the_system_loses_all_threads_and_all_are_replaced() {
    let rt = Runtime::builder().threads(3).start().unwrap();
    let mut acts = Vec::new();
    for n in 0..3 {
        acts.push(on(&rt, &format!("act-{n}"), Placement::Thread(n)).await);
    }
    // Each thread is lost three times, which the intensity of five allows.
    for round in 1..=3 {
        let mut events = rt.events();
        acts[0].tell(StopSystem).await.unwrap();
        for _ in 0..3 {
            event(&mut events, "the loss", |e| matches!(e, Event::ThreadLost { actors: 1 })).await;
        }
        for act in &acts {
            assert_eq!(act.ask(Add(1)).await.unwrap(), 1, "round {round}");
        }
    }
    let health = rt.health();
    assert!(health.thread_alive && health.failed.is_none() && health.lost_threads == 9, "{health:?}");
    assert!(rt.shutdown(LIMIT).await.timed_out.is_empty());
}
