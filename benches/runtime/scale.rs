//! What many actors cost: `cargo bench -p tieout-runtime -- scale`, or `-- scale 10000` for one number. Each number has a process of its
//! own, for memory that was given back stays with the allocator. Easy to get wrong: idle is idle only after the starts are over; the
//! CPU time is that of the whole process, the watchdog and all threads included.
use std::{
    process::Command,
    time::{Duration, Instant},
};

use actix::prelude::{Actor, Context};
use tieout_runtime::{ChildSpec, Runtime};

use crate::harness::cpu_ns;

const NUMBERS: [usize; 4] = [100, 1_000, 10_000, 50_000];
const IDLE_FOR: Duration = Duration::from_secs(3);
const LOOKUPS: usize = 2_000;
/// Actors stopped for the last figure, at most.
const DEAD_MAX: usize = 10_000;
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(60);

struct Session;
impl Actor for Session {
    type Context = Context<Self>;
}

/// All numbers, or the one that is given.
pub(crate) fn run(number: Option<usize>) {
    if let Some(n) = number {
        return one(n);
    }
    println!(
        "{:>8}{:>14}{:>14}{:>14}{:>16}{:>12}{:>16}{:>14}",
        "actors",
        "start us each",
        "idle CPU ms/s",
        "lookup ns",
        "RSS KB / actor",
        "shutdown s",
        "not drained",
        "dead, ms/s"
    );
    for n in NUMBERS {
        let exe = std::env::current_exe().expect("a program knows its file");
        let status = Command::new(exe).args(["scale", &n.to_string()]).status().expect("the program runs again");
        assert!(status.success(), "{n} actors: {status}");
    }
}

fn rss_kb() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: f64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second number of statm");
    pages * 4.0
}

/// CPU time of a while in which nothing happens, in ms per second.
fn idle() -> f64 {
    std::thread::sleep(Duration::from_secs(1));
    let (cpu, since) = (cpu_ns(), Instant::now());
    std::thread::sleep(IDLE_FOR);
    (cpu_ns() - cpu) / 1e6 / since.elapsed().as_secs_f64()
}

fn one(n: usize) {
    let app = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let rt = Runtime::builder().start().expect("the actor runtime");
    let start = |rt: &Runtime, i: usize| {
        let spec = ChildSpec::new(format!("session-{i}"), |_: &mut Context<Session>| Session);
        app.block_on(rt.supervise(spec)).expect("it starts")
    };
    let (before, since) = (rss_kb(), Instant::now());
    let addrs: Vec<_> = (0..n).map(|i| start(&rt, i)).collect();
    let started = since.elapsed();
    let rss = (rss_kb() - before) / n as f64;
    let idle_ms = idle();
    let names: Vec<_> = (0..LOOKUPS).map(|i| format!("session-{}", i * 7_919 % n)).collect();
    let since = Instant::now();
    assert!(names.iter().all(|name| rt.lookup::<Session>(name).is_some()), "every actor is found");
    let lookup = since.elapsed() / LOOKUPS as u32;
    drop(addrs);
    let since = Instant::now();
    let report = app.block_on(rt.shutdown(SHUTDOWN_LIMIT));
    let shut_down = since.elapsed();
    // Actors that are gone, with their handles kept.
    let rt = Runtime::builder().start().expect("the actor runtime");
    let dead: Vec<_> = (0..n.min(DEAD_MAX)).map(|i| start(&rt, i)).collect();
    for addr in &dead {
        app.block_on(addr.stop(SHUTDOWN_LIMIT)).expect("it stops");
    }
    let dead_ms = idle();
    println!(
        "{n:>8}{:>14.1}{idle_ms:>14.1}{:>14}{rss:>16.1}{:>12.2}{:>16}{dead_ms:>14.1}",
        started.as_secs_f64() * 1e6 / n as f64,
        lookup.as_nanos(),
        shut_down.as_secs_f64(),
        report.timed_out.len(),
    );
}
