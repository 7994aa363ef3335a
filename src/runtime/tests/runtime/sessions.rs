//! Actors that come and go: without a name of their own, stopped with their last handle, started by other actors, asked from inside. Easy
//! to get wrong: an ask under way is a handle too.
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use tieout_runtime::{
    Addr, AskError, ChildSpec, OwnContext, Restart, Runtime, State, StopReason, WeakAddr, WeakRuntime,
};

use crate::actor::{Act, Add, Do, LIMIT, Log, ViaFuture, hold, one, spec, state, stop};

async fn gone(addr: &Addr<Act>) -> StopReason {
    match state(addr, "the end", |s| matches!(s, State::Stopped { .. })).await {
        State::Stopped { why } => why,
        other => panic!("{other:?}"),
    }
}

/// Waits until the runtime has no actor but these.
async fn only(rt: &Runtime, n: usize) {
    let found = async {
        while rt.health().actors.len() != n {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, found).await.unwrap_or_else(|_| panic!("{:?}", rt.health().actors));
}

#[tokio::test]
async fn actors_without_a_name_of_their_own_get_one_that_no_other_has() {
    let rt = Runtime::builder().start().unwrap();
    let log = Log::default();
    let mut sessions = Vec::new();
    for _ in 0..20 {
        let log = log.clone();
        sessions.push(rt.supervise(ChildSpec::anonymous(move |_: &mut Context<Act>| Act::new(&log))).await.unwrap());
        sessions.push(rt.supervise(spec("given", &Log::default()).numbered()).await.unwrap());
    }
    let mut names: Vec<_> = sessions.iter().map(|s| s.name().to_owned()).collect();
    assert!(names[0].starts_with("Act#") && names[1].starts_with("given#"), "{names:?}");
    assert!(rt.lookup::<Act>(&names[0]).unwrap() == sessions[0] && sessions[0] != sessions[1]);
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 40);
    stop(rt).await;
}

#[tokio::test]
async fn an_actor_that_is_to_stop_with_its_last_handle_drains_and_stops_then_and_others_do_not() {
    let rt = Runtime::builder().start().unwrap();
    let log = Log::default();
    let session = rt.supervise(spec("session", &log).stop_with_last_handle()).await.unwrap();
    let service = rt.supervise(spec("service", &Log::default())).await.unwrap();
    drop(service);
    let second = rt.lookup::<Act>("session").unwrap();
    let third = session.recipient::<Add>();
    drop(session);
    assert_eq!(second.ask(Add(1)).await.unwrap(), 1);
    drop(second);
    let open = {
        let held = rt.lookup::<Act>("session").unwrap();
        hold(&held).await
    };
    third.tell(Add(2)).await.unwrap();
    let weak = rt.lookup::<Act>("session").unwrap().downgrade();
    assert!(weak.upgrade().is_some(), "there is a handle");
    drop(third);
    assert!(weak.upgrade().is_none() && rt.lookup::<Act>("session").is_none(), "there is none, and never one again");
    open.send(()).unwrap();
    only(&rt, 1).await;
    assert_eq!(log.lines(), ["stopped at 1003"], "what was accepted was handled first");
    assert!(rt.lookup::<Act>("service").is_some(), "a service lives until it is stopped");
    stop(rt).await;
}

#[tokio::test]
async fn an_ask_under_way_is_a_handle_and_one_that_never_replies_is_ended_in_time() {
    let rt = Runtime::builder().start().unwrap();
    let spec_ = spec("session", &Log::default()).stop_with_last_handle().stop_timeout(Duration::from_millis(100));
    let session = rt.supervise(spec_).await.unwrap();
    let (go, wait) = tokio::sync::oneshot::channel();
    let ask = session.ask(ViaFuture(Do::Wait(wait)));
    drop(session);
    let ask = tokio::spawn(ask);
    while rt.health().actors[0].replies_in_flight == 0 {
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    assert_eq!(ask.await.unwrap().unwrap(), 7);
    only(&rt, 0).await;
    // A tell is no handle, and its work is waited for as long as a stop may take.
    let session =
        rt.supervise(spec("other", &Log::default()).stop_with_last_handle().stop_timeout(Duration::from_millis(50)));
    let session = session.await.unwrap();
    let (_never, wait) = tokio::sync::oneshot::channel();
    session.tell(ViaFuture(Do::Wait(wait))).await.unwrap();
    drop(session);
    only(&rt, 0).await;
    stop(rt).await;
}

#[tokio::test]
async fn a_weak_address_follows_restarts_and_ends_with_its_actor() {
    let (rt, addr, _) = one(|s| s).await;
    let weak = addr.downgrade();
    addr.ask(crate::actor::Boom).await.unwrap_err();
    assert_eq!(weak.upgrade().unwrap().ask(Add(3)).await.unwrap(), 3, "a new instance");
    addr.stop(LIMIT).await.unwrap();
    assert!(weak.upgrade().is_none(), "though a handle is kept");
    assert!(matches!(gone(&addr).await, StopReason::Requested));
    stop(rt).await;
}

/// Starts children and asks them, all from inside.
struct Parent {
    rt: WeakRuntime,
    me: WeakAddr<Parent>,
    child: Option<Addr<Act>>,
    heard: u64,
    dropped: Arc<AtomicUsize>,
}
impl Actor for Parent {
    type Context = Context<Self>;
}
impl Drop for Parent {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// Starts the child.
#[derive(Message)]
#[rtype(result = "String")]
struct Adopt;
impl Handler<Adopt> for Parent {
    type Result = ResponseActFuture<Self, String>;
    fn handle(&mut self, _: Adopt, ctx: &mut Context<Self>) -> Self::Result {
        assert!(ctx.own_runtime().upgrade().is_some(), "in a handler too");
        let rt = self.rt.upgrade().unwrap();
        let child = async move { rt.supervise(spec("child", &Log::default()).stop_with_last_handle()).await };
        Box::pin(child.into_actor(self).map(|child, parent, ctx| {
            let child = child.unwrap();
            let name = format!("{} of {}", child.name(), ctx.own_addr().upgrade().unwrap().name());
            parent.child = Some(child);
            name
        }))
    }
}

/// Asks the child and keeps what it says; the line that every actix program has.
#[derive(Message)]
#[rtype(result = "()")]
struct AskChild(u64);
impl Handler<AskChild> for Parent {
    type Result = ();
    fn handle(&mut self, AskChild(n): AskChild, ctx: &mut Context<Self>) {
        let child = self.child.as_ref().unwrap();
        let asked = child.ask(Add(n)).into_actor(self).map(|sum, parent, _| parent.heard = sum.unwrap());
        ctx.spawn(asked);
    }
}

#[derive(Message)]
#[rtype(result = "(u64, bool)")]
struct Heard;
impl Handler<Heard> for Parent {
    type Result = MessageResult<Heard>;
    fn handle(&mut self, _: Heard, _: &mut Context<Self>) -> Self::Result {
        MessageResult((self.heard, self.me.upgrade().is_some()))
    }
}

#[tokio::test]
async fn an_actor_knows_its_own_address_and_a_runtime_that_it_does_not_keep_alive() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let rt = Runtime::builder().start().unwrap();
    let dropped2 = dropped.clone();
    let factory = move |ctx: &mut Context<Parent>| Parent {
        rt: ctx.own_runtime(),
        me: ctx.own_addr(),
        child: None,
        heard: 0,
        dropped: dropped2.clone(),
    };
    let parent = rt.supervise(ChildSpec::new("parent", factory)).await.unwrap();
    assert_eq!(parent.ask(Adopt).await.unwrap(), "child of parent");
    parent.ask(AskChild(40)).await.unwrap();
    parent.ask(AskChild(2)).await.unwrap();
    let heard = async {
        while parent.ask(Heard).await.unwrap() != (42, true) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, heard).await.expect("the child's sums are heard");
    let mut events = rt.events();
    drop((rt, parent));
    let ended = async { while events.recv().await != Err(tieout_runtime::EventsError::Ended) {} };
    tokio::time::timeout(LIMIT, ended).await.expect("nothing of the runtime is left");
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn outside_of_a_supervised_actor_a_context_knows_no_address_and_no_runtime() {
    /// A plain actix child.
    struct Plain;
    impl Actor for Plain {
        type Context = Context<Self>;
    }
    #[derive(Message)]
    #[rtype(result = "bool")]
    struct KnowsNobody;
    impl Handler<KnowsNobody> for Plain {
        type Result = bool;
        fn handle(&mut self, _: KnowsNobody, ctx: &mut Context<Self>) -> bool {
            ctx.own_addr().upgrade().is_none() && ctx.own_runtime().upgrade().is_none()
        }
    }
    struct Host;
    impl Actor for Host {
        type Context = Context<Self>;
    }
    #[derive(Message)]
    #[rtype(result = "bool")]
    struct AskPlain;
    impl Handler<AskPlain> for Host {
        type Result = ResponseFuture<bool>;
        fn handle(&mut self, _: AskPlain, _: &mut Context<Self>) -> Self::Result {
            let plain = Plain.start();
            Box::pin(async move { plain.send(KnowsNobody).await.unwrap() })
        }
    }
    let rt = Runtime::builder().start().unwrap();
    let host = rt.supervise(ChildSpec::new("host", |_: &mut Context<Host>| Host)).await.unwrap();
    assert!(host.ask(AskPlain).await.unwrap());
    stop(rt).await;
}

/// A message that may go to another thread and may not be shared.
#[derive(Message)]
#[rtype(result = "()")]
struct Job(#[allow(dead_code)] Box<dyn FnOnce() + Send>);
impl Handler<Job> for Act {
    type Result = ();
    fn handle(&mut self, _: Job, _: &mut Context<Self>) {}
}

#[tokio::test]
async fn an_error_without_its_message_is_boxed_whatever_the_message_is() {
    let (rt, addr, _) = one(|s| s).await;
    addr.stop(LIMIT).await.unwrap();
    async fn boxed(addr: &Addr<Act>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        addr.try_tell(Job(Box::new(|| {}))).map_err(|e| e.without_message()).unwrap_err();
        addr.ask(Job(Box::new(|| {}))).await.map_err(AskError::without_message)?;
        Ok(())
    }
    let error = boxed(&addr).await.unwrap_err();
    let text = "the message was not delivered: the actor is gone: it was asked to stop";
    assert_eq!(error.to_string(), text);
    assert!(matches!(error.downcast_ref(), Some(AskError::<()>::Stopped { why: StopReason::Requested, .. })));
    stop(rt).await;
}

/// A stream of three numbers; actix's own `finished` stops the actor.
struct Finite(Log);
impl Actor for Finite {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.add_stream(futures_util::stream::iter([1, 2, 3]));
    }
}
impl StreamHandler<i32> for Finite {
    fn handle(&mut self, n: i32, _: &mut Context<Self>) {
        self.0.say(n.to_string());
    }
}

#[tokio::test]
async fn an_actor_whose_stream_ends_ends_with_it_if_it_is_transient() {
    let rt = Runtime::builder().start().unwrap();
    let log = Log::default();
    let log2 = log.clone();
    let spec = ChildSpec::anonymous(move |_: &mut Context<Finite>| Finite(log2.clone())).restart(Restart::Transient);
    let finite = rt.supervise(spec).await;
    if let Ok(finite) = finite {
        let end = tokio::time::timeout(LIMIT, finite.watch().wait_for(|s| matches!(s, State::Stopped { .. }))).await;
        assert_eq!(end.unwrap().unwrap(), State::Stopped { why: StopReason::Finished });
    }
    only(&rt, 0).await;
    assert_eq!(log.lines(), ["1", "2", "3"], "once");
    stop(rt).await;
}
