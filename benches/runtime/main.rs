//! What an ask costs: `runtime::Addr::ask`, default deadline on, against a raw tokio mpsc + oneshot ask of a task on a
//! dedicated current-thread runtime. `cargo bench --bench runtime [-- ROUNDS]`. Against other actor libraries: `peers/`; what many actors
//! cost: `scale`. The figure is CPU time of the whole process
//! (askers, actor, wake-ups) per ask, which other load on the machine disturbs less than wall time. Every round measures
//! every system, in rotated order; printed are medians and the median of the per-round ratios. Easy to get wrong: compare within a
//! run only, never across runs.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::prelude::{Actor, Context, Handler, Message};
use tieout_runtime::{Addr, ChildSpec, Mailbox, Runtime};

use harness::{MAILBOX, Target, compare, measure, raw};

mod harness;
mod scale;

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

/// One message in so many is timed for metrics.
const SAMPLE_EVERY: u32 = 16;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = args.iter().position(|arg| arg == "scale") {
        return scale::run(args.get(at + 1).and_then(|n| n.parse().ok()));
    }
    let app = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (raw, raw_thread) = raw();
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
    compare(&[
        ("raw mpsc+oneshot", Box::new(|askers| measure(&app, askers, &raw))),
        ("Addr::ask", Box::new(|askers| measure(&app, askers, &Default5s(addr.clone())))),
        ("Addr::ask, metrics", Box::new(|askers| measure(&app, askers, &Default5s(metered.clone())))),
        ("Addr::ask.timeout(5s)", Box::new(|askers| measure(&app, askers, &Own5s(addr.clone())))),
    ]);
    drop((raw, addr, metered));
    raw_thread.join().expect("the raw actor ends when its queue closes");
    for rt in [rt, rt_metered] {
        let report = app.block_on(rt.shutdown(Duration::from_secs(5)));
        assert!(report.clean(), "{report:?}");
    }
}
