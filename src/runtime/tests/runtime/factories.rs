//! Factories that fail or take their time. Under virtual time where time matters.
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tieout_runtime::{
    ChildSpec, OnExhausted, Runtime, StartError, State, StopReason,
    test_kit::{TestRuntime, inject_panic},
};

use crate::actor::{Act, Add, LIMIT, Log, quick, stop};

#[derive(Debug, thiserror::Error)]
#[error("no port")]
struct NoPort(#[source] std::num::ParseIntError);

fn no_port() -> NoPort {
    NoPort("none".parse::<u16>().unwrap_err())
}

#[tokio::test]
async fn a_factorys_error_is_the_answer_of_supervise_and_the_name_is_free_again() {
    let rt = Runtime::builder().start().unwrap();
    for again in [false, true] {
        let spec = match again {
            false => ChildSpec::<Act>::try_new("act", |_| Err(no_port())),
            true => ChildSpec::<Act>::new_async("act", || async {
                tokio::task::yield_now().await;
                Err(no_port())
            }),
        };
        let Err(StartError::Failed { name, cause }) = rt.supervise(spec).await else { panic!("it started") };
        assert_eq!((&*name, &*cause), ("act", "no port: invalid digit found in string"), "with its source");
    }
    let spec = ChildSpec::try_new("act", |_| Ok::<_, NoPort>(Act::new(&Log::default())));
    assert_eq!(rt.supervise(spec).await.unwrap().ask(Add(1)).await.unwrap(), 1);
    stop(rt).await;
}

#[test]
fn an_asynchronous_factory_makes_every_instance_and_its_errors_count_as_failed_starts() {
    let rt = TestRuntime::new();
    rt.block_on(async {
        let made = Arc::new(AtomicUsize::new(0));
        let made2 = made.clone();
        let factory = move || {
            let made = made2.clone();
            async move {
                // A connection takes a while.
                tokio::time::timeout(Duration::from_secs(3), std::future::pending::<()>()).await.unwrap_err();
                match made.fetch_add(1, Ordering::SeqCst) {
                    0 | 2 => Ok(Act::new(&Log::default())),
                    _ => Err(no_port()),
                }
            }
        };
        let spec = ChildSpec::new_async("act", factory).backoff(quick()).intensity(2, Duration::from_secs(60));
        let act = rt.supervise(spec.on_exhausted(OnExhausted::GiveUp)).await.unwrap();
        assert_eq!(rt.now().as_secs(), 3);
        inject_panic(&act).unwrap();
        // The second instance fails, the third comes up.
        assert_eq!(act.ask(Add(1)).timeout(Duration::from_secs(30)).await.unwrap(), 1);
        assert_eq!(rt.now().as_secs(), 9);
        // The third failure within a minute is one too many.
        inject_panic(&act).unwrap();
        let end = act.watch().wait_for(|s| matches!(s, State::Stopped { .. })).await.unwrap();
        assert!(matches!(&end, State::Stopped { why: StopReason::Exhausted(_) }), "{end:?}");
        rt.expect_end("act");
    });
    rt.assert_clean();
}

#[test]
fn an_asynchronous_factory_has_the_start_timeout_and_holds_up_nobody() {
    /// Counts the futures that are dropped.
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let rt = TestRuntime::new();
    rt.block_on(async {
        let dropped = Arc::new(AtomicUsize::new(0));
        let never = |name: &str| {
            let dropped = dropped.clone();
            ChildSpec::<Act>::new_async(name, move || {
                let dropped = Dropped(dropped.clone());
                async move {
                    let _dropped = dropped;
                    std::future::pending::<Result<Act, NoPort>>().await
                }
            })
            .start_timeout(Duration::from_secs(2))
        };
        let slow = rt.supervise(never("slow"));
        let quick = async {
            let log = Log::default();
            let quick = rt.supervise(ChildSpec::new("quick", move |_| Act::new(&log))).await.unwrap();
            quick.ask(Add(1)).await.unwrap();
            rt.now()
        };
        let (slow, quick) = tokio::join!(slow, quick);
        assert!(matches!(slow, Err(StartError::TimedOut { .. })), "{slow:?}");
        assert!(quick < Duration::from_secs(1), "{quick:?}");
        // A caller that goes away.
        assert!(tokio::time::timeout(Duration::from_secs(1), rt.supervise(never("left"))).await.is_err());
        rt.pass(LIMIT).await;
        assert_eq!(dropped.load(Ordering::SeqCst), 2, "the futures are gone");
        assert_eq!(rt.health().actors.len(), 1);
        rt.expect_end("slow");
        rt.expect_end("left");
    });
    rt.assert_clean();
}
