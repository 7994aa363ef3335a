//! A default deadline holds wherever in the queue its message is, and whatever waits before it. Easy to get wrong: a message that has
//! no deadline at the head of the queue says nothing of those behind it.
use std::{
    panic::resume_unwind,
    time::{Duration, Instant},
};

use actix::{Context, Handler};
use tieout_runtime::{Addr, AskError, Backoff, ChildSpec, Mailbox, Overflow, Runtime};

use crate::actor::{Act, Add, Do, LIMIT, Log, ViaAtomic, ViaFuture, hold, one, spec, stop};

const DEADLINE: Duration = Duration::from_millis(300);

/// What keeps the actor from its queue.
enum Busy {
    Blocked,
    Waiting,
    Down,
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct Fail;
impl Handler<Fail> for Act {
    type Result = ();
    fn handle(&mut self, _: Fail, _: &mut Context<Self>) {
        resume_unwind(Box::new("down"));
    }
}

async fn busy(busy: &Busy, capacity: usize) -> (Runtime, Addr<Act>, Box<dyn Send>) {
    let down = Backoff { first: LIMIT, max: LIMIT, jitter: 0.0, reset_after: LIMIT };
    let adjust = |s: ChildSpec<Act>| s.ask_timeout(DEADLINE).mailbox(Mailbox::bounded(capacity)).backoff(down);
    let (rt, addr, _) = one(adjust).await;
    let open: Box<dyn Send> = match busy {
        Busy::Blocked => Box::new(hold(&addr).await),
        Busy::Waiting => {
            let (open, gate) = tokio::sync::oneshot::channel();
            addr.tell(ViaAtomic(Do::Wait(gate))).await.unwrap();
            Box::new(open)
        }
        Busy::Down => {
            addr.tell(Fail).await.unwrap();
            Box::new(())
        }
    };
    let taken = async {
        while addr.mailbox_depth() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, taken).await.expect("the actor is busy");
    (rt, addr, open)
}

async fn default_deadline_fires(addr: &Addr<Act>, what: &str) {
    let begun = Instant::now();
    let late = addr.ask(Add(7)).await;
    assert!(matches!(late, Err(AskError::TimedOutInQueue(Add(7)))), "{what}: {late:?}");
    assert!((DEADLINE..DEADLINE + Duration::from_secs(1)).contains(&begun.elapsed()), "{what}: {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_default_deadline_fires_behind_tells_and_longer_asks_whatever_the_actor_does() {
    for (name, what) in [("blocked", Busy::Blocked), ("waiting", Busy::Waiting), ("down", Busy::Down)] {
        for capacity in [16, 1024] {
            let (rt, addr, open) = busy(&what, capacity).await;
            default_deadline_fires(&addr, &format!("{name}, {capacity}, alone")).await;
            addr.try_tell(Add(1)).unwrap();
            default_deadline_fires(&addr, &format!("{name}, {capacity}, behind a tell")).await;
            let longer = tokio::spawn({
                let addr = addr.clone();
                async move { addr.ask(Add(1)).timeout(LIMIT * 2).await }
            });
            let queued = async {
                while addr.mailbox_depth() < 2 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(LIMIT, queued).await.expect("the longer ask is queued");
            default_deadline_fires(&addr, &format!("{name}, {capacity}, behind a longer ask")).await;
            longer.abort();
            drop(open);
            drop(rt);
        }
    }
}

#[tokio::test]
async fn an_ask_past_its_deadline_makes_room_though_a_tell_waits_before_it() {
    let mailbox = Mailbox::bounded(2).overflow(Overflow::Reject);
    let (rt, addr, _) = one(|s| s.ask_timeout(DEADLINE).mailbox(mailbox)).await;
    let open = hold(&addr).await;
    addr.try_tell(Add(1)).unwrap();
    default_deadline_fires(&addr, "behind a tell").await;
    addr.try_tell(Add(10)).expect("the place is free again");
    drop(open);
    let worked_off = async {
        while addr.mailbox_depth() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, worked_off).await.expect("the queue is worked off");
    assert_eq!(addr.ask(Add(0)).timeout(LIMIT).await.unwrap(), 1_011);
    stop(rt).await;
}

#[tokio::test]
async fn a_message_from_the_hand_of_a_panicked_actor_keeps_its_deadline() {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    let down = Backoff { first: LIMIT, max: LIMIT, jitter: 0.0, reset_after: LIMIT };
    let addr = rt.supervise(spec("act", &log).ask_timeout(DEADLINE).backoff(down)).await.unwrap();
    let open = hold(&addr).await;
    for _ in 0..3 {
        addr.try_tell(Add(1)).unwrap();
    }
    addr.try_tell(Fail).unwrap();
    addr.try_tell(Add(1)).unwrap();
    drop(open); // all of these are one hand
    default_deadline_fires(&addr, "in the queue of one that is down").await;
    drop(rt);
}

#[tokio::test]
async fn a_reply_that_never_comes_is_one_dead_deadline_and_still_work_to_wait_for() {
    let (rt, addr, _) = one(|s| s.ask_timeout(DEADLINE)).await;
    let (open, gate) = tokio::sync::oneshot::channel();
    let late = addr.ask(ViaFuture(Do::Wait(gate))).await.unwrap_err();
    assert!(matches!(late, AskError::TimedOutRunning { .. }), "{late:?}");
    assert_eq!(rt.health().actors[0].replies_in_flight, 1, "a drain waits for it");
    let stopping = tokio::spawn({
        let addr = addr.clone();
        async move { addr.stop(LIMIT).await }
    });
    tokio::task::yield_now().await;
    assert!(!stopping.is_finished());
    open.send(()).unwrap();
    stopping.await.unwrap().unwrap();
    stop(rt).await;
}
