//! Asks that cannot be answered: circles, own deadlines, refusals and dead letters, each by name. Easy to get wrong: a circle needs every
//! actor in it to be blocked; one that goes on handling messages closes none.
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use actix::{
    ActorFutureExt, AsyncContext, AtomicResponse, Context, Handler, ResponseActFuture, ResponseFuture, WrapFuture,
};
use tieout_runtime::{Addr, AskError, Event, Mailbox, Overflow, Runtime, SWEPT_FROM};

use crate::actor::{Act, Add, LIMIT, Log, event, hold, one, spec, stop};

/// Asks the first of the list to ask the rest, and answers what it heard; the last one is asked to add.
#[derive(actix::Message)]
#[rtype(result = "String")]
struct Pass(Vec<Addr<Act>>);

/// The same without holding up the actor.
#[derive(actix::Message)]
#[rtype(result = "String")]
struct PassOn(Vec<Addr<Act>>);

async fn pass(mut to: Vec<Addr<Act>>) -> String {
    let next = to.remove(0);
    let heard = match to.is_empty() {
        true => {
            next.ask(Add(1)).timeout(Duration::from_millis(500)).await.map(|n| n.to_string()).map_err(|e| e.to_string())
        }
        false => next.ask(Pass(to)).await.map_err(|e| e.to_string()),
    };
    heard.unwrap_or_else(|e| e)
}

impl Handler<Pass> for Act {
    type Result = AtomicResponse<Act, String>;
    fn handle(&mut self, m: Pass, _: &mut Context<Self>) -> Self::Result {
        AtomicResponse::new(Box::pin(pass(m.0).into_actor(self)))
    }
}

impl Handler<PassOn> for Act {
    type Result = ResponseActFuture<Act, String>;
    fn handle(&mut self, m: PassOn, _: &mut Context<Self>) -> Self::Result {
        Box::pin(pass(m.0).into_actor(self))
    }
}

async fn three(rt: &Runtime) -> [Addr<Act>; 3] {
    let log = Log::default();
    let mut actors = Vec::new();
    for name in ["a", "b", "c"] {
        actors.push(rt.supervise(spec(name, &log)).await.unwrap());
    }
    actors.try_into().unwrap()
}

#[tokio::test]
async fn a_circle_of_waiting_actors_is_refused_with_its_names() {
    let rt = Runtime::builder().detect_ask_cycles(true).start().unwrap();
    let [a, b, c] = three(&rt).await;
    let mut events = rt.events();
    let heard = a.ask(Pass(vec![b.clone(), c.clone(), a.clone()])).await.unwrap();
    assert!(heard.ends_with("was not delivered: c -> a -> b -> c would wait for each other"), "{heard}");
    let said = event(&mut events, "the circle", |e| matches!(e, Event::AskCycle { .. })).await;
    let Event::AskCycle { actors } = said else { unreachable!() };
    assert_eq!(actors.iter().map(|n| &**n).collect::<Vec<_>>(), ["c", "a", "b", "c"]);
    assert_eq!(a.ask(Pass(vec![b.clone(), c.clone()])).await.unwrap(), "1", "a line is no circle");
    assert_eq!(a.ask(Pass(vec![b, c])).await.unwrap(), "2", "and what is over leaves no edge behind");
    stop(rt).await;
}

#[tokio::test]
async fn an_actor_that_goes_on_handling_messages_closes_no_circle() {
    let rt = Runtime::builder().detect_ask_cycles(true).start().unwrap();
    let [a, b, _] = three(&rt).await;
    assert_eq!(a.ask(PassOn(vec![b, a.clone()])).await.unwrap(), "1");
    stop(rt).await;
}

#[tokio::test]
async fn without_detection_a_circle_ends_at_its_deadline() {
    let rt = Runtime::builder().detect_ask_cycles(false).start().unwrap();
    let [a, b, _] = three(&rt).await;
    let heard = a.ask(Pass(vec![b, a.clone()])).await.unwrap();
    assert!(heard.ends_with("was not delivered before its deadline"), "{heard}");
    stop(rt).await;
}

/// Asks its own actor from a future that the actor spawned, or from a reply future, which runs beside the actor.
#[derive(actix::Message)]
#[rtype(result = "&'static str")]
struct AskFromSpawned(Addr<Act>);
impl Handler<AskFromSpawned> for Act {
    type Result = ResponseFuture<&'static str>;
    fn handle(&mut self, m: AskFromSpawned, ctx: &mut Context<Self>) -> Self::Result {
        let (tx, rx) = tokio::sync::oneshot::channel();
        let ask = async move { m.0.ask(Add(1)).await.map_or_else(|e| e.code(), |_| "answered") };
        ctx.spawn(ask.into_actor(self).map(move |code, _, _| tx.send(code).unwrap()));
        Box::pin(async move { rx.await.unwrap() })
    }
}

#[derive(actix::Message)]
#[rtype(result = "&'static str")]
struct AskFromReply(Addr<Act>);
impl Handler<AskFromReply> for Act {
    type Result = ResponseFuture<&'static str>;
    fn handle(&mut self, m: AskFromReply, _: &mut Context<Self>) -> Self::Result {
        Box::pin(async move { m.0.ask(Add(1)).await.map_or_else(|e| e.code(), |_| "answered") })
    }
}

#[tokio::test]
async fn a_self_ask_is_refused_from_the_actors_futures_and_answered_beside_them() {
    let (rt, addr, _) = one(|s| s).await;
    assert_eq!(addr.ask(AskFromSpawned(addr.clone())).await.unwrap(), "self_ask");
    assert_eq!(addr.ask(AskFromReply(addr.clone())).await.unwrap(), "answered", "it does not hold up the actor");
    stop(rt).await;
}

#[tokio::test]
async fn a_long_deadline_of_its_own_is_swept_from_the_middle_of_the_queue() {
    let (rt, addr, _) = one(|s| s.ask_timeout(LIMIT).mailbox(Mailbox::bounded(200))).await;
    let open = hold(&addr).await;
    let before = tokio::spawn({
        let addr = addr.clone();
        async move { addr.ask(Add(1)).await }
    });
    let queued = async {
        while addr.mailbox_depth() < 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, queued).await.expect("the first is queued");
    for _ in 0..50 {
        addr.try_tell(Add(10)).unwrap();
    }
    let begun = Instant::now();
    let late = addr.ask(Add(5_000)).timeout(SWEPT_FROM).await;
    assert!(matches!(late, Err(AskError::TimedOutInQueue(Add(5_000)))), "{late:?}");
    assert!((SWEPT_FROM..LIMIT / 2).contains(&begun.elapsed()), "after {:?}", begun.elapsed());
    let room = (0..500).filter(|_| addr.try_tell(Add(0)).is_ok()).count();
    assert!((115..=149).contains(&room), "what was looked at goes on counting: {room}");
    open.send(()).unwrap();
    assert_eq!(before.await.unwrap().unwrap(), 1_001);
    assert_eq!(addr.ask(Add(0)).await.unwrap(), 1_501, "nothing else was lost, and order was kept");
    addr.stop(LIMIT).await.unwrap();
    stop(rt).await;
}

#[tokio::test]
async fn dead_letters_are_counted_by_reason_and_refusals_are_told() {
    let rejected = Arc::new(Mutex::new(Vec::new()));
    let rejected2 = rejected.clone();
    let rt = Runtime::builder().on_rejected(move |r| rejected2.lock().unwrap().push(r.clone())).start().unwrap();
    let mailbox = Mailbox::bounded(2).overflow(Overflow::DropOldest);
    let addr = rt.supervise(spec("act", &Log::default()).mailbox(mailbox)).await.unwrap();
    let reject = Mailbox::bounded(1).overflow(Overflow::Reject);
    let narrow = rt.supervise(spec("narrow", &Log::default()).mailbox(reject)).await.unwrap();
    let open = hold(&addr).await;
    for _ in 0..3 {
        addr.try_tell(Add(1)).unwrap(); // the third pushes the first out
    }
    narrow.try_tell(Add(1)).unwrap();
    assert!(narrow.try_tell(Add(1)).is_err());
    {
        let mut dropped = std::pin::pin!(addr.ask(Add(1))); // pushes one out, is withdrawn
        assert!(futures_util::poll!(&mut dropped).is_pending());
    }
    addr.ask(Add(1)).timeout(Duration::from_millis(10)).await.unwrap_err(); // pushes one out, expires
    open.send(()).unwrap();
    addr.stop(LIMIT).await.unwrap();
    assert!(addr.try_tell(Add(1)).is_err());
    let report = rt.shutdown(LIMIT).await;
    assert_eq!(report.dead_letters_by_reason, [("stopped", 0), ("overflow", 3), ("expired", 1), ("withdrawn", 1)]);
    assert_eq!(report.dead_letters, 5);
    let rejected: Vec<_> = rejected.lock().unwrap().iter().map(|r| (r.actor.to_string(), r.reason)).collect();
    assert_eq!(rejected, [("narrow".to_owned(), "mailbox_full"), ("act".to_owned(), "stopped")]);
}
