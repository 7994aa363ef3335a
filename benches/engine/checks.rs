//! How soon a run would see a cancellation: the longest time between two of its checks, by phase.
//!
//!     cargo bench -p tieout-reconcile --bench checks -- LEFT RIGHT
//!
//! `tieout generate 1000000 DIR` makes files of a million payments. The time that a busy machine takes away counts.
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tieout_reconcile::{Progress, ReadOptions, read, run_inferred, settle};

/// The last check, and the longest time behind a check of each phase.
struct Checks {
    last: Instant,
    phase: &'static str,
    longest: BTreeMap<&'static str, Duration>,
    count: u64,
}

impl Checks {
    fn see(&mut self, phase: &'static str) {
        let longest = self.longest.entry(self.phase).or_default();
        *longest = (*longest).max(self.last.elapsed());
        self.count += 1;
        (self.last, self.phase) = (Instant::now(), phase);
    }
}

fn main() {
    // `cargo bench` adds a flag of its own.
    let files: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [left, right] = files.as_slice() else {
        println!("usage: cargo bench -p tieout-reconcile --bench checks -- LEFT RIGHT");
        return;
    };
    let checks = Checks { last: Instant::now(), phase: "ingesting", longest: BTreeMap::new(), count: 0 };
    let checks = Mutex::new(checks);
    let control = |progress: Progress| {
        checks.lock().expect("no check panics").see(progress.phase.as_str());
        ControlFlow::Continue(())
    };
    let table = |path: &String| {
        let options = ReadOptions { name: path.clone(), ..ReadOptions::default() };
        read(File::open(path).expect("the file is there"), None, &options, &control).expect("the file is readable")
    };
    let started = Instant::now();
    let (mut left, mut right) = (table(left), table(right));
    settle(&mut left, &mut right, None, &control).expect("nobody cancels");
    let outcome = run_inferred(&left, &right, &control).expect("nobody cancels");
    let mut checks = checks.into_inner().expect("no check panics");
    checks.see("ended");
    println!("{} matches, {} checks in {:.1} s", outcome.matches.len(), checks.count, started.elapsed().as_secs_f64());
    for (phase, longest) in &checks.longest {
        println!("{phase:<12} {:>4} ms at most between two checks", longest.as_millis());
    }
}
