//! What both comparisons share: CPU time per ask, askers in a loop, medians over interleaved rounds, and raw tokio as the floor. Easy to
//! get wrong: compare within a run only, never across runs.
use std::hint::black_box;

use tokio::sync::{mpsc, oneshot};

pub(crate) const MAILBOX: usize = 1024;
const ASKERS: [usize; 3] = [1, 64, 1024];

type RawAsk = (u64, oneshot::Sender<u64>);

async fn raw_actor(mut rx: mpsc::Receiver<RawAsk>) {
    let mut sum = 0u64;
    while let Some((x, reply)) = rx.recv().await {
        sum = sum.wrapping_add(x);
        // An asker that is gone is none of its business.
        let _ = reply.send(sum);
    }
}

/// CPU time of the whole process.
pub(crate) fn cpu_ns() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a plain call that fills `t`.
    #[allow(unsafe_code, reason = "the clock of the process is the system's")]
    unsafe {
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t)
    };
    t.tv_sec as f64 * 1e9 + t.tv_nsec as f64
}

/// Something to ask; each asker task has a clone of its own and asks by reference.
pub(crate) trait Target: Clone + Send + Sync + 'static {
    fn ask(&self, x: u64) -> impl Future<Output = u64> + Send;
}

#[derive(Clone)]
pub(crate) struct Raw(mpsc::Sender<RawAsk>);
impl Target for Raw {
    async fn ask(&self, x: u64) -> u64 {
        let (tx, rx) = oneshot::channel();
        self.0.send((x, tx)).await.expect("the raw actor lives");
        rx.await.expect("the raw actor replies")
    }
}

/// CPU ns per ask of `askers` tasks on `app` that ask in a loop.
pub(crate) fn measure(app: &tokio::runtime::Runtime, askers: usize, target: &impl Target) -> f64 {
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

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

/// Raw tokio on a thread of its own, and that thread.
pub(crate) fn raw() -> (Raw, std::thread::JoinHandle<()>) {
    let (raw, rx) = mpsc::channel(MAILBOX);
    let thread = std::thread::spawn(move || {
        let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        rt.block_on(raw_actor(rx));
    });
    (Raw(raw), thread)
}

/// One system to measure: its name, and CPU ns per ask with so many askers.
pub(crate) type System<'a> = (&'a str, Box<dyn Fn(usize) -> f64 + 'a>);

/// Measures every system in every round, in rotated order, and prints medians; the first system is what the ratios are to.
pub(crate) fn compare(systems: &[System<'_>]) {
    let rounds: usize = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(9);
    println!("CPU ns per ask, median of {rounds} interleaved rounds (ratio to raw: median of per-round ratios)");
    println!("{:<24}{:>20}{:>20}{:>20}", "", "1 asker", "64 askers", "1024 askers");
    let mut cells = vec![vec![Vec::new(); ASKERS.len()]; systems.len()];
    for round in 0..=rounds {
        for (a, askers) in ASKERS.iter().enumerate() {
            for k in 0..systems.len() {
                let system = (k + round) % systems.len();
                let ns = systems[system].1(*askers);
                if round > 0 {
                    cells[system][a].push(ns); // round 0 warms up
                }
            }
        }
    }
    for (system, (name, _)) in systems.iter().enumerate() {
        print!("{name:<24}");
        for (times, raw_times) in cells[system].iter().zip(&cells[0]) {
            let ratios = times.iter().zip(raw_times).map(|(x, raw)| x / raw).collect();
            print!("{:>12.0} ({:.2}x)", median(times.clone()), median(ratios));
        }
        println!();
    }
}
