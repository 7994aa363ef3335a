//! What an ask costs: `runtime::Addr::ask`, default deadline on, against a raw tokio mpsc + oneshot ask of a task on a
//! dedicated current-thread runtime. `cargo bench --bench runtime [-- ROUNDS]`. The figure is CPU time of the whole process
//! (askers, actor, wake-ups) per ask, which other load on the machine disturbs less than wall time. Every round measures
//! every system, in rotated order; printed are medians and the median of the per-round ratios. Easy to get wrong: compare within a
//! run only, never across runs.
use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::prelude::{Actor, Context, Handler, Message};
use tieout::runtime::{Addr, ChildSpec, Mailbox, Runtime};
use tokio::sync::{mpsc, oneshot};

const MAILBOX: usize = 1024;
const ASKERS: [usize; 3] = [1, 64, 1024];

struct Sum(u64);
impl Actor for Sum {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "u64")]
struct Add(u64);
impl Handler<Add> for Sum {
    type Result = u64;
    fn handle(&mut self, m: Add, _: &mut Context<Self>) -> u64 {
        self.0 = self.0.wrapping_add(m.0);
        self.0
    }
}

type RawAsk = (u64, oneshot::Sender<u64>);

async fn raw_actor(mut rx: mpsc::Receiver<RawAsk>) {
    let mut sum = 0u64;
    while let Some((x, reply)) = rx.recv().await {
        sum = sum.wrapping_add(x);
        // An asker that is gone is none of its business.
        let _ = reply.send(sum);
    }
}

fn cpu_ns() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a plain call that fills `t`.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 * 1e9 + t.tv_nsec as f64
}

/// Something to ask; each asker task has a clone of its own and asks by reference.
trait Target: Clone + Send + Sync + 'static {
    fn ask(&self, x: u64) -> impl Future<Output = u64> + Send;
}

#[derive(Clone)]
struct Raw(mpsc::Sender<RawAsk>);
impl Target for Raw {
    async fn ask(&self, x: u64) -> u64 {
        let (tx, rx) = oneshot::channel();
        self.0.send((x, tx)).await.expect("the raw actor lives");
        rx.await.expect("the raw actor replies")
    }
}

/// With the actor's default deadline.
#[derive(Clone)]
struct Default5s(Addr<Sum>);
impl Target for Default5s {
    async fn ask(&self, x: u64) -> u64 {
        self.0.ask(Add(x)).await.expect("the actor replies")
    }
}

/// With a deadline of its own, which arms a timer.
#[derive(Clone)]
struct Own5s(Addr<Sum>);
impl Target for Own5s {
    async fn ask(&self, x: u64) -> u64 {
        self.0.ask(Add(x)).timeout(Duration::from_secs(5)).await.expect("the actor replies")
    }
}

/// CPU ns per ask of `askers` tasks on `app` that ask in a loop.
fn measure(app: &tokio::runtime::Runtime, askers: usize, target: &impl Target) -> f64 {
    let per = if askers == 1 { 10_000 } else { 200_000 / askers };
    let start = cpu_ns();
    let tasks: Vec<_> = (0..askers)
        .map(|_| {
            let target = target.clone();
            app.spawn(async move {
                for k in 0..per as u64 {
                    black_box(target.ask(black_box(k)).await);
                }
            })
        })
        .collect();
    app.block_on(async {
        for task in tasks {
            task.await.expect("an asker finishes");
        }
    });
    (cpu_ns() - start) / (per * askers) as f64
}

struct Bench {
    app: tokio::runtime::Runtime,
    raw: Raw,
    addr: Addr<Sum>,
    /// Of a runtime with sampled metrics.
    metered: Addr<Sum>,
}

const SYSTEMS: [&str; 4] = ["raw mpsc+oneshot", "Addr::ask", "Addr::ask, metrics", "Addr::ask.timeout(5s)"];

/// One message in so many is timed for metrics.
const SAMPLE_EVERY: u32 = 16;

impl Bench {
    fn run(&self, system: usize, askers: usize) -> f64 {
        match system {
            0 => measure(&self.app, askers, &self.raw),
            1 => measure(&self.app, askers, &Default5s(self.addr.clone())),
            2 => measure(&self.app, askers, &Default5s(self.metered.clone())),
            _ => measure(&self.app, askers, &Own5s(self.addr.clone())),
        }
    }
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

fn main() {
    let rounds: usize = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(9);
    let app = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (raw, rx) = mpsc::channel(MAILBOX);
    let raw_thread = std::thread::spawn(move || {
        let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        rt.block_on(raw_actor(rx));
    });
    let spec = || ChildSpec::new("sum", |_: &mut Context<Sum>| Sum(0)).mailbox(Mailbox::bounded(MAILBOX));
    let rt = Runtime::builder().start().expect("the actor runtime");
    let addr = app.block_on(rt.supervise(spec())).expect("the actor");
    let handle_ns = Arc::new(AtomicU64::new(0));
    let rt_metered = Runtime::builder()
        .on_handled(SAMPLE_EVERY, move |h| {
            handle_ns.fetch_add(h.handle_time.as_nanos() as u64 * u64::from(h.weight), Ordering::Relaxed);
        })
        .start()
        .expect("the actor runtime");
    let metered = app.block_on(rt_metered.supervise(spec())).expect("the actor");
    let bench = Bench { app, raw: Raw(raw), addr, metered };

    println!("CPU ns per ask, median of {rounds} interleaved rounds (ratio to raw: median of per-round ratios)");
    println!("{:<24}{:>20}{:>20}{:>20}", "", "1 asker", "64 askers", "1024 askers");
    let mut cells = vec![vec![Vec::new(); ASKERS.len()]; SYSTEMS.len()];
    for round in 0..=rounds {
        for (a, askers) in ASKERS.iter().enumerate() {
            for k in 0..SYSTEMS.len() {
                let system = (k + round) % SYSTEMS.len();
                let ns = bench.run(system, *askers);
                if round > 0 {
                    cells[system][a].push(ns); // round 0 warms up
                }
            }
        }
    }
    for (system, name) in SYSTEMS.iter().enumerate() {
        print!("{name:<24}");
        for (times, raw_times) in cells[system].iter().zip(&cells[0]) {
            let ratios = times.iter().zip(raw_times).map(|(x, raw)| x / raw).collect();
            print!("{:>12.0} ({:.2}x)", median(times.clone()), median(ratios));
        }
        println!();
    }
    let Bench { app, raw, addr, metered } = bench;
    drop((raw, addr, metered));
    raw_thread.join().expect("the raw actor ends when its queue closes");
    for rt in [rt, rt_metered] {
        let report = app.block_on(rt.shutdown(Duration::from_secs(5)));
        assert!(report.clean(), "{report:?}");
    }
}
