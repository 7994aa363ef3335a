//! Many actors: the runtime works by what is queued, not by how many there are. The bounds here are generous, for tests run unoptimized
//! beside others; the figures are in `benches/runtime`, mode `scale`. Easy to get wrong: CPU time is that of the watchdog's own thread,
//! which no other test in this process has a share in.
use std::time::{Duration, Instant};

use actix::prelude::*;
use tieout_runtime::{Addr, AskError, ChildSpec, Runtime};

use crate::actor::{Act, Add, LIMIT, Log, hold, spec, stop};

struct Idle;
impl Actor for Idle {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Nothing;
impl Handler<Nothing> for Idle {
    type Result = ();
    fn handle(&mut self, _: Nothing, _: &mut Context<Self>) {}
}

async fn many(rt: &Runtime, n: usize) -> Vec<Addr<Idle>> {
    let mut addrs = Vec::new();
    for i in 0..n {
        addrs.push(rt.supervise(ChildSpec::new(format!("idle-{i}"), |_: &mut Context<Idle>| Idle)).await.unwrap());
    }
    addrs
}

/// CPU time so far of the thread of this name in this process.
fn cpu_of(thread: &str) -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    // The kernel keeps 15 letters of a name.
    let of_name = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|name| thread.starts_with(name.trim_end()))
    };
    let path = tasks.into_iter().find(of_name).expect("the thread is there");
    let schedstat = std::fs::read_to_string(path.join("schedstat")).unwrap();
    Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap())
}

/// CPU time of a thread in a while in which nothing happens.
async fn idle_cpu_of(thread: &str) -> Duration {
    let before = cpu_of(thread);
    tokio::time::timeout(Duration::from_secs(1), std::future::pending::<()>()).await.unwrap_err();
    cpu_of(thread) - before
}

#[tokio::test]
async fn ten_thousand_actors_that_rest_or_are_gone_cost_the_watchdog_next_to_nothing() {
    const N: usize = 10_000;
    let rt = Runtime::builder().name("many").start().unwrap();
    let addrs = many(&rt, N).await;
    for addr in &addrs {
        addr.ask(Nothing).await.unwrap();
    }
    let resting = idle_cpu_of("many-watchdog").await;
    assert!(resting < Duration::from_millis(50), "{resting:?} in a second for {N} actors at rest");
    let since = Instant::now();
    for i in (0..N).step_by(10) {
        assert_eq!(rt.lookup::<Idle>(&format!("idle-{i}")).unwrap().name(), addrs[i].name());
    }
    assert!(since.elapsed() < Duration::from_millis(200), "{:?} for {} lookups", since.elapsed(), N / 10);
    // The handles outlive the actors.
    let report = rt.shutdown(Duration::from_secs(30)).await;
    assert!(report.clean() && report.drained.len() == N, "{} of {N} drained", report.drained.len());
    let rt = Runtime::builder().name("gone").start().unwrap();
    let gone = many(&rt, N / 5).await;
    for addr in &gone {
        addr.stop(LIMIT).await.unwrap();
        assert!(addr.try_tell(Nothing).is_err());
    }
    let cpu = idle_cpu_of("gone-watchdog").await;
    assert!(cpu < Duration::from_millis(50), "{cpu:?} in a second for {} actors that are gone", gone.len());
    stop(rt).await;
}

#[tokio::test]
async fn deadlines_fire_among_thousands_of_actors_at_rest() {
    let rt = Runtime::builder().start().unwrap();
    let idle = many(&rt, 2_000).await;
    let busy = spec("busy", &Log::default()).ask_timeout(Duration::from_millis(300));
    let busy: Addr<Act> = rt.supervise(busy).await.unwrap();
    let open = hold(&busy).await;
    busy.tell(Add(1)).await.unwrap();
    let since = Instant::now();
    let error = busy.ask(Add(2)).await.unwrap_err();
    assert!(matches!(error, AskError::TimedOutInQueue(Add(2))), "{error:?}");
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    // An idle neighbour's too, though nothing was ever sent to it before.
    let error = idle[7].ask(Nothing).timeout(Duration::from_millis(1_200)).await.unwrap_err();
    assert!(matches!(error, AskError::TimedOutInQueue(Nothing)), "{error:?}");
    open.send(()).unwrap();
    stop(rt).await;
}
