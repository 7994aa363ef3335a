//! One real bound for everybody, four overflow policies, deadlines, every kind of reply, fairness. In raw actix `try_send` is
//! bounded per clone, `send` and `do_send` not at all, nothing has a deadline by default, and a busy actor starves its thread.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use tieout_runtime::{Addr, AskError, ChildSpec, Event, Mailbox, Overflow, SendError};

use crate::actor::{
    Act, Add, Do, LIMIT, Log, Twice, ViaActFuture, ViaAtomic, ViaFuture, block, event, hold, one, spec, stop,
};

/// Lets the actor go on and finish its queue.
async fn release(addr: &Addr<Act>, open: mpsc::Sender<()>) {
    open.send(()).unwrap();
    let empty = async {
        while addr.mailbox_depth() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, empty).await.expect("the actor finishes its queue");
}

#[tokio::test]
async fn the_bound_holds_over_all_clones_and_ways_to_send() {
    let (rt, addr, _) = one(|s| s.mailbox(Mailbox::bounded(3))).await;
    let open = hold(&addr).await;
    let clones: Vec<_> = (0..8).map(|_| addr.clone()).collect();
    let accepted = clones.iter().filter(|a| a.try_tell(Add(1)).is_ok()).count();
    assert_eq!(accepted, 3);
    let Err(SendError::MailboxFull(Add(7))) = addr.try_tell(Add(7)) else { panic!("not refused") };
    let late = addr.ask(Add(8)).timeout(Duration::from_millis(20)).await.unwrap_err();
    assert!(late.retryable());
    assert_eq!(late.into_message(), Some(Add(8)), "an ask that found no room in time gives its message back");
    open.send(()).unwrap();
    assert_eq!(addr.ask(Add(0)).await.unwrap(), 1_003);
    stop(rt).await;
}

#[tokio::test]
async fn a_large_mailbox_never_holds_more_than_its_bound() {
    let (rt, addr, _) = one(|s| s.mailbox(Mailbox::bounded(500))).await;
    let open = hold(&addr).await;
    let accepted = (0..2_000).filter(|_| addr.try_tell(Add(1)).is_ok()).count();
    assert!((468..=500).contains(&accepted), "{accepted}");
    open.send(()).unwrap();
    assert_eq!(addr.ask(Add(0)).await.unwrap(), 1_000 + accepted as u64);
    stop(rt).await;
}

#[tokio::test]
async fn a_teller_waits_for_room_and_order_is_kept() {
    let (rt, addr, _) = one(|s| s.mailbox(Mailbox::bounded(1))).await;
    let open = hold(&addr).await;
    addr.try_tell(Add(1)).unwrap();
    let waiting = tokio::spawn({
        let addr = addr.clone();
        async move { addr.tell(Add(2)).await }
    });
    open.send(()).unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(addr.ask(Add(0)).await.unwrap(), 1_003);
    stop(rt).await;
}

#[tokio::test]
async fn overflow_reject_refuses_the_new_one_at_once() {
    let (rt, addr, _) = one(|s| s.mailbox(Mailbox::bounded(1).overflow(Overflow::Reject))).await;
    let open = hold(&addr).await;
    addr.tell(Add(1)).await.unwrap();
    assert!(matches!(addr.tell(Add(2)).await, Err(SendError::MailboxFull(Add(2)))));
    assert!(matches!(addr.ask(Add(3)).await, Err(AskError::MailboxFull(Add(3)))));
    release(&addr, open).await;
    assert_eq!(addr.ask(Add(0)).await.unwrap(), 1_001);
    stop(rt).await;
}

#[tokio::test]
async fn overflow_drop_oldest_gives_the_oldest_back_and_takes_the_new_one() {
    let (rt, addr, _) = one(|s| s.mailbox(Mailbox::bounded(1).overflow(Overflow::DropOldest))).await;
    let open = hold(&addr).await;
    let oldest = tokio::spawn({
        let addr = addr.clone();
        async move { addr.ask(Add(1)).await }
    });
    let queued = async {
        while addr.mailbox_depth() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, queued).await.expect("the oldest is queued");
    let mut events = rt.events();
    addr.tell(Add(2)).await.unwrap();
    assert!(matches!(oldest.await.unwrap(), Err(AskError::MailboxFull(Add(1)))));
    event(&mut events, "the dead letter", |e| matches!(e, Event::DeadLetter { reason: "overflow", .. })).await;
    release(&addr, open).await;
    assert_eq!(addr.ask(Add(0)).await.unwrap(), 1_002);
    stop(rt).await;
}

#[tokio::test]
async fn overflow_drop_newest_counts_what_it_drops() {
    let (rt, addr, _) = one(|s| s.mailbox(Mailbox::bounded(1).overflow(Overflow::DropNewest))).await;
    let open = hold(&addr).await;
    addr.tell(Add(1)).await.unwrap();
    addr.tell(Add(2)).await.unwrap();
    addr.try_tell(Add(3)).unwrap();
    assert!(matches!(addr.ask(Add(4)).await, Err(AskError::MailboxFull(Add(4)))));
    release(&addr, open).await;
    assert_eq!(addr.ask(Add(0)).await.unwrap(), 1_001);
    assert_eq!(rt.shutdown(LIMIT).await.dead_letters, 2);
}

#[tokio::test]
async fn the_default_deadline_gives_back_what_was_never_handled() {
    let (rt, addr, _) = one(|s| s.ask_timeout(Duration::from_millis(100))).await;
    let open = hold(&addr).await;
    let begun = Instant::now();
    let got = addr.ask(Add(5)).await.unwrap_err();
    assert!(begun.elapsed() >= Duration::from_millis(100), "never early");
    assert!(matches!(got, AskError::TimedOutInQueue(Add(5))), "{got:?}");
    open.send(()).unwrap();
    assert_eq!(addr.ask(Add(0)).timeout(LIMIT).await.unwrap(), 1_000, "the expired one was not handled");
    stop(rt).await;
}

#[tokio::test]
async fn the_default_deadline_ends_an_ask_whose_handler_is_stuck_or_whose_reply_is_late() {
    let (rt, addr, _) = one(|s| s.ask_timeout(Duration::from_millis(100))).await;
    let (gate, open, _entered) = block();
    let got = addr.ask(gate).await.unwrap_err();
    let AskError::TimedOutRunning { ran_for } = got else { panic!("{got:?}") };
    assert!(ran_for >= Duration::from_millis(100));
    open.send(()).unwrap();
    for kind in 0..3 {
        let (keep, wait) = tokio::sync::oneshot::channel();
        let got = match kind {
            0 => addr.ask(ViaFuture(Do::Wait(wait))).await.map_err(|e| e.code()),
            1 => addr.ask(ViaActFuture(Do::Wait(wait))).await.map_err(|e| e.code()),
            _ => addr.ask(ViaAtomic(Do::Wait(wait))).await.map_err(|e| e.code()),
        };
        assert_eq!(got, Err("timed_out_running"));
        drop(keep);
    }
    stop(rt).await;
}

#[tokio::test]
async fn an_own_deadline_is_exact_and_beats_the_default() {
    let (rt, addr, _) = one(|s| s).await;
    let open = hold(&addr).await;
    let begun = Instant::now();
    let got = addr.ask(Add(5)).timeout(Duration::from_millis(30)).await.unwrap_err();
    assert!(matches!(got, AskError::TimedOutInQueue(Add(5))), "{got:?}");
    assert!(begun.elapsed() >= Duration::from_millis(30));
    open.send(()).unwrap();
    stop(rt).await;
}

#[tokio::test]
async fn a_withdrawn_ask_is_never_handled() {
    let (rt, addr, _) = one(|s| s).await;
    let open = hold(&addr).await;
    {
        let mut ask = std::pin::pin!(addr.ask(Add(5)));
        assert!(futures_util::poll!(&mut ask).is_pending());
    }
    open.send(()).unwrap();
    assert_eq!(addr.ask(Add(0)).await.unwrap(), 1_000);
    stop(rt).await;
}

#[tokio::test]
async fn every_kind_of_reply_works_and_an_atomic_one_holds_the_queue() {
    let (rt, addr, _) = one(|s| s).await;
    let ready = || {
        let (tx, rx) = tokio::sync::oneshot::channel();
        tx.send(()).unwrap();
        Do::Wait(rx)
    };
    assert_eq!(addr.ask(Add(1)).await.unwrap(), 1);
    assert_eq!(addr.ask(Twice).await.unwrap(), (1, 1));
    assert_eq!(addr.ask(ViaFuture(ready())).await.unwrap(), 7);
    assert_eq!(addr.ask(ViaActFuture(ready())).await.unwrap(), 2);
    let (open, wait) = tokio::sync::oneshot::channel();
    let mut atomic = std::pin::pin!(addr.ask(ViaAtomic(Do::Wait(wait))));
    let mut behind = std::pin::pin!(addr.ask(Add(10)));
    assert!(futures_util::poll!(&mut atomic).is_pending());
    assert!(futures_util::poll!(&mut behind).is_pending());
    let (keep, wait) = tokio::sync::oneshot::channel::<()>();
    drop(keep);
    open.send(()).unwrap();
    let (atomic, behind) = tokio::join!(atomic, behind);
    assert_eq!((atomic.unwrap(), behind.unwrap()), (3, 13), "the queue waited for the atomic reply");
    assert_eq!(addr.ask(ViaFuture(Do::Wait(wait))).await.unwrap(), 7);
    stop(rt).await;
}

/// Asks the very actor that handles it.
#[derive(actix::Message)]
#[rtype(result = "&'static str")]
struct AskYourself(Addr<Act>);
impl actix::Handler<AskYourself> for Act {
    type Result = actix::AtomicResponse<Act, &'static str>;
    fn handle(&mut self, m: AskYourself, _: &mut actix::Context<Self>) -> Self::Result {
        use actix::{ActorFutureExt, WrapFuture};
        let ask = async move { m.0.ask(Add(1)).await.map_or_else(|e| e.code(), |_| "answered") };
        actix::AtomicResponse::new(Box::pin(ask.into_actor(self).map(|code, _, _| code)))
    }
}

#[tokio::test]
async fn an_actor_that_asks_itself_is_refused_at_once() {
    let (rt, addr, _) = one(|s| s).await;
    assert_eq!(addr.ask(AskYourself(addr.clone())).await.unwrap(), "self_ask");
    stop(rt).await;
}

/// Spins ten microseconds, so that one producer can keep the queue full.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct Spin;
impl actix::Handler<Spin> for Act {
    type Result = ();
    fn handle(&mut self, _: Spin, _: &mut actix::Context<Self>) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_micros(10) {
            std::hint::spin_loop();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flooded_actor_starves_neither_its_neighbour_nor_its_own_timer() {
    let log = Log::default();
    let rt = tieout_runtime::Runtime::builder().start().unwrap();
    let ticks = Arc::new(AtomicUsize::new(0));
    let (log2, ticks2) = (log.clone(), ticks.clone());
    let flooded = ChildSpec::new("flooded", move |_| Act {
        timer: Some((Duration::from_millis(10), ticks2.clone())),
        ..Act::new(&log2)
    });
    let flooded = rt.supervise(flooded.mailbox(Mailbox::bounded(10_000))).await.unwrap();
    let neighbour = rt.supervise(spec("neighbour", &log)).await.unwrap();
    let stop_flood = Arc::new(AtomicBool::new(false));
    let (flooded2, stop2) = (flooded.clone(), stop_flood.clone());
    let flood = std::thread::spawn(move || {
        while !stop2.load(Ordering::Relaxed) {
            if flooded2.try_tell(Spin).is_err() {
                std::thread::yield_now();
            }
        }
    });
    let full = async {
        while flooded.mailbox_depth() < 5_000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, full).await.expect("the flood fills the mailbox");
    let (before, begun, mut asks) = (ticks.load(Ordering::Relaxed), Instant::now(), 0);
    while begun.elapsed() < Duration::from_millis(500) {
        neighbour.ask(Add(1)).await.unwrap();
        asks += 1;
    }
    let ticked = ticks.load(Ordering::Relaxed) - before;
    assert!(flooded.mailbox_depth() > 0, "the flood went on throughout");
    stop_flood.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    // Alone it would be some thousand asks and fifty ticks; starved it is none of either.
    assert!(asks > 50, "the neighbour answered {asks} asks");
    assert!(ticked >= 10, "the timer ticked {ticked} times");
    stop(rt).await;
}

#[tokio::test]
async fn handled_messages_are_sampled_with_their_times_for_metrics() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen2 = seen.clone();
    let rt = tieout_runtime::Runtime::builder()
        .on_handled(4, move |h| seen2.lock().unwrap().push(h.clone()))
        .start()
        .unwrap();
    let addr = rt.supervise(spec("act", &Log::default())).await.unwrap();
    for _ in 0..40 {
        addr.ask(Add(1)).await.unwrap();
    }
    stop(rt).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 10);
    assert!(seen.iter().all(|h| &*h.actor == "act" && h.message.ends_with("::Add") && h.weight == 4));
}
