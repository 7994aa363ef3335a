//! Callers that do what a library must expect: they cancel, they hold on to what they are given, they run without a timer, with the
//! longest duration there is, beside another runtime, or while theirs goes away. Nothing of that may panic, hang or leave a trace.
use std::{
    sync::{Arc, Mutex, atomic::AtomicUsize, mpsc},
    time::Duration,
};

use actix::{Context, Handler};
use tieout_runtime::{
    Addr, AskError, ChildSpec, Group, GroupSpec, Mailbox, OnRestart, Restart, Runtime, SendError, StartError, State,
    StopReason, Strategy,
};

use crate::actor::{Act, Add, Boom, LIMIT, Log, StopYourself, block, spec, stop};

/// Asks another actor from this one's own turn.
#[derive(actix::Message)]
#[rtype(result = "&'static str")]
struct AskOther(Addr<Act>);
impl Handler<AskOther> for Act {
    type Result = actix::AtomicResponse<Act, &'static str>;
    fn handle(&mut self, m: AskOther, _: &mut Context<Self>) -> Self::Result {
        use actix::WrapFuture;
        let ask = async move { m.0.ask(Add(1)).await.map_or_else(|e| e.code(), |_| "answered") };
        actix::AtomicResponse::new(Box::pin(ask.into_actor(self)))
    }
}

#[tokio::test]
async fn actors_of_two_runtimes_are_never_taken_for_one() {
    let log = Log::default();
    let (one, two) = (Runtime::builder().start().unwrap(), Runtime::builder().start().unwrap());
    for n in 0..3 {
        let a = one.supervise(spec(&format!("a{n}"), &log)).await.unwrap();
        let b = two.supervise(spec(&format!("b{n}"), &log)).await.unwrap();
        assert_eq!(a.ask(AskOther(b.clone())).await.unwrap(), "answered");
        assert_eq!(b.ask(AskOther(a)).await.unwrap(), "answered");
    }
    stop(one).await;
    stop(two).await;
}

#[tokio::test]
async fn whatever_a_watcher_does_with_a_state_holds_up_no_actor() {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    let a = rt.supervise(spec("a", &log)).await.unwrap();
    let b = rt.supervise(spec("b", &log)).await.unwrap();
    let group = rt.group(GroupSpec::new("group", Strategy::OneForAll)).unwrap();
    let c = group.supervise(spec("c", &log)).await.unwrap();
    let (states, failed, restarts) = (a.watch(), rt.failed(), group.restarts());
    let mut in_closure = a.watch();
    // All that it can be given is held while the actors fail, and one of them is awaited inside.
    match (states.get(), failed.get(), restarts.get(), group.watch().get()) {
        (State::Running, None, 0, _) => {
            a.tell(Boom).await.unwrap();
            c.tell(Boom).await.unwrap();
            assert_eq!(tokio::time::timeout(LIMIT, b.ask(Add(1))).await.unwrap().unwrap(), 1);
            assert!(tokio::time::timeout(LIMIT, a.stop(LIMIT)).await.unwrap().is_ok());
        }
        other => panic!("{other:?}"),
    }
    let held = in_closure.wait_for(|s| {
        assert_eq!(rt.health().actors.len(), 2, "health can be read in the middle of it");
        matches!(s, State::Stopped { .. })
    });
    assert!(tokio::time::timeout(LIMIT, held).await.unwrap().is_ok());
    let mut ended = a.watch();
    drop(a);
    drop(states);
    assert!(tokio::time::timeout(LIMIT, ended.changed()).await.unwrap().is_err(), "no change comes any more");
    stop(rt).await;
}

/// An actor whose factory waits for the gate; the instances there are.
fn slow(name: &str, alive: &Arc<AtomicUsize>) -> (ChildSpec<Act>, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (open, gate) = mpsc::channel::<()>();
    let (entered, inside) = mpsc::channel();
    let (gate, entered, alive) = (Mutex::new(gate), Mutex::new(entered), alive.clone());
    let child = ChildSpec::new(name, move |_: &mut Context<Act>| {
        let _ = entered.lock().unwrap().send(());
        let _ = gate.lock().unwrap().recv_timeout(LIMIT);
        Act { timer: Some((LIMIT, alive.clone())), ..Act::new(&Log::default()) }
    });
    (child, open, inside)
}

#[tokio::test]
async fn a_start_whose_caller_goes_away_leaves_no_actor_and_no_name() {
    let rt = Runtime::builder().start().unwrap();
    let alive = Arc::default();
    let (child, open, inside) = slow("z", &alive);
    let starting = tokio::spawn({
        let rt = rt.clone();
        async move { rt.supervise(child).await.map(drop) }
    });
    tokio::task::spawn_blocking(move || inside.recv_timeout(LIMIT).unwrap()).await.unwrap();
    let orphan = rt.lookup::<Act>("z").unwrap();
    starting.abort();
    assert!(starting.await.unwrap_err().is_cancelled());
    assert!(rt.lookup::<Act>("z").is_none(), "the name is free at once");
    let told = orphan.ask(Add(1)).await.unwrap_err();
    assert!(matches!(told, AskError::Stopped { msg: Add(1), why: StopReason::Requested }), "{told:?}");
    open.send(()).unwrap();
    let again = rt.supervise(spec("z", &Log::default())).await.unwrap();
    assert_eq!(again.ask(Add(1)).await.unwrap(), 1);
    let gone = async {
        while Arc::strong_count(&alive) > 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.expect("the orphan is dropped");
    assert_eq!(rt.health().actors.len(), 1);
    stop(rt).await;
}

async fn restarting_group(rt: &Runtime) -> Group {
    let backoff = tieout_runtime::Backoff { first: LIMIT, max: LIMIT, jitter: 0.0, reset_after: LIMIT };
    let group = rt.group(GroupSpec::new("group", Strategy::OneForAll).backoff(backoff)).unwrap();
    let member = group.supervise(spec("member", &Log::default())).await.unwrap();
    member.tell(Boom).await.unwrap();
    let restarting = |s: &tieout_runtime::GroupState| *s != tieout_runtime::GroupState::Running;
    tokio::time::timeout(LIMIT, group.watch().wait_for(restarting)).await.unwrap().unwrap();
    group
}

#[tokio::test]
async fn a_start_that_waits_for_its_group_can_be_cancelled_too() {
    let rt = Runtime::builder().start().unwrap();
    let group = restarting_group(&rt).await;
    for _ in 0..2 {
        let start = group.supervise(spec("z", &Log::default()));
        assert!(tokio::time::timeout(Duration::from_millis(20), start).await.is_err());
        assert!(rt.lookup::<Act>("z").is_none());
    }
    assert_eq!(rt.health().groups[0].members.len(), 1);
    assert!(group.stop(LIMIT).await.clean());
    stop(rt).await;
}

#[tokio::test]
async fn a_start_whose_caller_panics_gives_the_name_back() {
    let rt = Runtime::builder().start().unwrap();
    let alive = Arc::default();
    let (child, open, inside) = slow("z", &alive);
    let panicking = tokio::spawn({
        let rt = rt.clone();
        async move {
            let start = std::pin::pin!(rt.supervise(child));
            let entered = tokio::task::spawn_blocking(move || inside.recv_timeout(LIMIT).unwrap());
            let _ = futures_util::future::select(start, entered).await;
            panic!("in the middle of a start");
        }
    });
    assert!(panicking.await.unwrap_err().is_panic());
    assert!(rt.lookup::<Act>("z").is_none());
    drop(open);
    stop(rt).await;
}

#[tokio::test]
async fn an_actor_that_is_stopped_while_it_starts_is_told_at_once() {
    let rt = Runtime::builder().start().unwrap();
    let (child, open, inside) = slow("z", &Arc::default());
    let starting = tokio::spawn({
        let rt = rt.clone();
        async move { rt.supervise(child).await.map(drop) }
    });
    tokio::task::spawn_blocking(move || inside.recv_timeout(LIMIT).unwrap()).await.unwrap();
    rt.lookup::<Act>("z").unwrap().stop(Duration::from_millis(20)).await.unwrap_err();
    let told = tokio::time::timeout(Duration::from_secs(2), starting).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(&told, StartError::Stopped { why: StopReason::TimedOut, .. }), "{told:?}");
    drop(open);
    stop(rt).await;
}

/// The whole of what a caller does, without anything of tokio but what the runtime brings.
async fn everything(rt: Runtime) {
    let addr = rt.supervise(spec("act", &Log::default()).mailbox(Mailbox::bounded(1))).await.unwrap();
    assert_eq!(addr.ask(Add(1)).await.unwrap(), 1);
    assert_eq!(addr.ask(Add(1)).timeout(Duration::from_millis(500)).await.unwrap(), 2);
    assert_eq!(addr.control().ask(Add(1)).await.unwrap(), 3);
    let (gate, open, entered) = block();
    addr.tell(gate).await.unwrap();
    entered.recv_timeout(LIMIT).unwrap();
    addr.tell(Add(1)).await.unwrap();
    let full = addr.ask(Add(1)).timeout(Duration::from_millis(20)).await;
    assert!(matches!(full, Err(AskError::TimedOutInQueue(Add(1)))), "{full:?}");
    drop(open);
    addr.tell(Add(1)).await.unwrap(); // waits for room
    addr.stop(LIMIT).await.unwrap();
    let group = rt.group(GroupSpec::new("group", Strategy::OneForAll)).unwrap();
    group.supervise(spec("member", &Log::default())).await.unwrap();
    assert!(group.stop(LIMIT).await.clean());
    assert!(rt.shutdown(LIMIT).await.clean());
}

#[test]
fn everything_works_on_a_tokio_without_a_timer_and_without_any_tokio() {
    let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
    bare.block_on(everything(Runtime::builder().start().unwrap()));
    let io_only = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_io().build().unwrap();
    io_only.block_on(async {
        tokio::spawn(everything(Runtime::builder().start().unwrap())).await.unwrap();
    });
    std::thread::spawn(|| futures_executor(everything(Runtime::builder().start().unwrap()))).join().unwrap();
}

/// The least executor there is.
fn futures_executor<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(out) => return out,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

#[tokio::test]
async fn the_longest_duration_and_the_largest_number_there_are_mean_no_bound() {
    let most = Duration::MAX;
    let rt = Runtime::builder().stall_after(most).max_leaked_threads(usize::MAX).start().unwrap();
    let backoff = tieout_runtime::Backoff { max: most, reset_after: most, ..crate::actor::quick() };
    let adjust = |name: &str| {
        spec(name, &Log::default())
            .ask_timeout(most)
            .start_timeout(most)
            .stop_timeout(most)
            .backoff(backoff)
            .intensity(usize::MAX, most)
            .mailbox(Mailbox::bounded(usize::MAX))
    };
    let addr = rt.supervise(adjust("act")).await.unwrap();
    for n in 1..3 {
        assert_eq!(addr.ask(Add(1)).await.unwrap(), 3 * n - 2);
        assert_eq!(addr.ask(Add(1)).timeout(most).await.unwrap(), 3 * n - 1);
        assert_eq!(addr.control().ask(Add(1)).timeout(most).on_restart(OnRestart::Wait).await.unwrap(), 3 * n);
    }
    addr.tell(Boom).await.unwrap();
    assert_eq!(addr.ask(Add(1)).await.unwrap(), 1, "it was restarted");
    let group = rt.group(GroupSpec::new("group", Strategy::OneForAll).intensity(usize::MAX, most)).unwrap();
    group.supervise(adjust("member").restart(Restart::Transient)).await.unwrap().tell(StopYourself).await.unwrap();
    let kept = tieout_runtime::ChildSpec::recovering("kept", most, |_, _| Kept).snapshot_tries(usize::MAX);
    rt.supervise(kept.start_timeout(most)).await.unwrap();
    addr.stop(most).await.unwrap();
    assert!(group.stop(most).await.clean());
    assert!(rt.shutdown(most).await.clean());
}

struct Kept;
impl actix::Actor for Kept {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Context<Self>) {
        tieout_runtime::intervals::skip_interval(ctx, Duration::MAX, |_, _| {});
    }
}
impl tieout_runtime::Recover for Kept {
    type Snapshot = ();
    fn snapshot(&self) {}
}

#[test]
fn a_runtime_that_goes_away_panics_in_none_of_its_callers() {
    for _ in 0..20 {
        let rt = Runtime::builder().start().unwrap();
        let (addr, open) = futures_executor(async {
            let addr = rt.supervise(spec("act", &Log::default()).mailbox(Mailbox::bounded(1))).await.unwrap();
            let (gate, open, entered) = block();
            addr.tell(gate).await.unwrap();
            entered.recv_timeout(LIMIT).unwrap();
            addr.tell(Add(1)).await.unwrap();
            (addr, open)
        });
        let waiting: Vec<_> = (0..6)
            .map(|n| {
                let addr = addr.clone();
                std::thread::spawn(move || {
                    futures_executor(async {
                        match n % 3 {
                            0 => addr
                                .tell(Add(1))
                                .await
                                .map_err(|e| matches!(e, SendError::Stopping(_) | SendError::Stopped { .. }))
                                .err(),
                            1 => addr.ask(Add(1)).timeout(Duration::from_millis(900)).await.map_err(stopped).err(),
                            _ => addr.control().ask(Add(1)).await.map_err(stopped).err(),
                        }
                    })
                })
            })
            .collect();
        drop(rt);
        drop(open);
        for thread in waiting {
            let told = thread.join().expect("no caller panics");
            assert_eq!(told, Some(true), "told that the actor is going or gone");
        }
    }
}

fn stopped<M>(e: AskError<M>) -> bool {
    matches!(e, AskError::Stopping(_) | AskError::Stopped { .. } | AskError::Aborted(_))
}
