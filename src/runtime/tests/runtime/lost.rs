//! A handler that stops its Arbiter or the System, as actix code does, takes the thread from all actors. They are rebuilt on another, or
//! the runtime says that it has failed; in raw actix, and silently, everything is over.
use std::time::Duration;

use actix::{Context, Handler};
use tieout_runtime::{
    AbortReason, AskError, Backoff, ChildSpec, Event, GroupSpec, RestartReason, Runtime, StartError, State, StopReason,
    Strategy,
};

use crate::actor::{Act, Add, Do, LIMIT, Log, ViaFuture, event, spec, state};

#[derive(Clone, Copy)]
enum Which {
    Arbiter,
    System,
}

impl Which {
    fn stop(self) {
        match self {
            Self::Arbiter => drop(actix_rt::Arbiter::current().stop()),
            Self::System => actix_rt::System::current().stop(),
        }
    }
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct Stop(Which);
impl Handler<Stop> for Act {
    type Result = ();
    fn handle(&mut self, m: Stop, _: &mut Context<Self>) {
        m.0.stop();
    }
}

#[tokio::test]
async fn actors_whose_thread_was_stopped_by_a_handler_are_rebuilt_with_their_queues_and_handles() {
    for which in [Which::Arbiter, Which::System] {
        let log = Log::default();
        let rt = Runtime::builder().start().unwrap();
        let mut events = rt.events();
        let group = rt.group(GroupSpec::new("group", Strategy::OneForAll)).unwrap();
        let addr = rt.supervise(spec("act", &log)).await.unwrap();
        let member = group.supervise(spec("member", &log)).await.unwrap();
        let (_open, gate) = tokio::sync::oneshot::channel();
        let late = tokio::spawn({
            let member = member.clone();
            async move { member.ask(ViaFuture(Do::Wait(gate))).await }
        });
        let under_way = async {
            while rt.health().actors.iter().all(|a| a.replies_in_flight == 0) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, under_way).await.expect("it is being answered");
        addr.tell(Stop(which)).await.unwrap();
        let moved = event(&mut events, "the loss", |e| matches!(e, Event::ThreadLost { .. })).await;
        assert_eq!(moved, Event::ThreadLost { actors: 2 });
        let told = late.await.unwrap().unwrap_err();
        assert!(matches!(told, AskError::Aborted(AbortReason::ThreadLost)), "{told:?}");
        assert_eq!(addr.ask(Add(1)).await.unwrap(), 1, "a new instance, the same handle");
        assert_eq!(member.ask(Add(1)).await.unwrap(), 1);
        let later = rt.supervise(spec("later", &log)).await.unwrap();
        assert_eq!(later.ask(Add(1)).timeout(Duration::from_millis(900)).await.unwrap(), 1);
        assert!(rt.health().ok(), "{:?}", rt.health());
        assert_eq!(rt.health().lost_threads, 1);
        let report = rt.shutdown(LIMIT).await;
        assert_eq!((report.lost_threads, report.clean()), (1, false), "the report says so: {report:?}");
        assert_eq!((report.drained.len(), report.timed_out.len()), (3, 0), "{report:?}");
        assert!(report.leaked_threads.is_empty(), "{report:?}");
    }
}

#[tokio::test]
async fn an_actor_in_its_pause_moves_too_and_says_why() {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    let mut events = rt.events();
    let long = Backoff { first: LIMIT, max: LIMIT, jitter: 0.0, reset_after: LIMIT };
    let down = rt.supervise(spec("down", &log).backoff(long)).await.unwrap();
    let addr = rt.supervise(spec("act", &log)).await.unwrap();
    down.tell(crate::actor::Boom).await.unwrap();
    state(&down, "its pause", |s| matches!(s, State::Restarting { .. })).await;
    addr.tell(Stop(Which::Arbiter)).await.unwrap();
    let lost = |e: &Event| matches!(e, Event::Restarting { reason: RestartReason::ThreadLost, .. });
    event(&mut events, "the reason", lost).await;
    assert_eq!(down.ask(Add(1)).await.unwrap(), 1);
    rt.shutdown(LIMIT).await;
}

#[tokio::test]
async fn a_thread_that_is_lost_again_and_again_is_the_runtimes_failure_and_not_a_silence() {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    let bystander = rt.supervise(spec("bystander", &log)).await.unwrap();
    let again = ChildSpec::new("again", move |_: &mut Context<Act>| {
        Which::System.stop();
        Act::new(&Log::default())
    });
    let refused = tokio::time::timeout(LIMIT, rt.supervise(again)).await.expect("it is told at once");
    // It may have come up between two of its stops; then it has ended by now or ends soon.
    if let Err(e) = &refused {
        assert!(matches!(e, StartError::Stopped { why: StopReason::ThreadLost, .. }), "{e}");
    }
    let failure = tokio::time::timeout(LIMIT, rt.failed().wait_for(Option::is_some)).await.unwrap().unwrap().unwrap();
    assert!(failure.cause.contains("a handler stopped its Arbiter or its System"), "{failure:?}");
    let end = state(&bystander, "its end", |s| matches!(s, State::Stopped { .. })).await;
    assert_eq!(end, State::Stopped { why: StopReason::ThreadLost });
    let begun = std::time::Instant::now();
    let later = rt.supervise(spec("later", &log)).await.unwrap_err();
    assert!(matches!(later, StartError::Stopped { why: StopReason::ThreadLost, .. }), "{later}");
    assert!(begun.elapsed() < Duration::from_secs(1), "at once");
    assert!(!rt.health().ok());
    let report = rt.shutdown(LIMIT).await;
    assert!(!report.clean() && report.lost_threads >= 6, "{report:?}");
}
