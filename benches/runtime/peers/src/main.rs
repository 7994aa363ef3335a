//! One ask of an actor on a thread of its own: raw tokio, this runtime, actix, kameo, ractor, in one run. `cargo run --release -- ROUNDS` in
//! this folder. Easy to get wrong: the peers have no deadline unless asked for one; ours always has its default.
#[path = "../../harness.rs"]
mod harness;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::prelude::{Actor, Context, Handler, Message};
use harness::{MAILBOX, Target, compare, measure, raw};
use tieout_runtime::{Addr, ChildSpec, Mailbox, Runtime};
use tokio::sync::oneshot;

#[derive(Message)]
#[rtype(result = "u64")]
struct Add(u64);

struct Sum(u64);
impl Actor for Sum {
    type Context = Context<Self>;
}
impl Handler<Add> for Sum {
    type Result = u64;
    fn handle(&mut self, m: Add, _: &mut Context<Self>) -> u64 {
        self.0 = self.0.wrapping_add(m.0);
        self.0
    }
}

#[derive(Clone)]
struct Ours(Addr<Sum>);
impl Target for Ours {
    async fn ask(&self, x: u64) -> u64 {
        self.0.ask(Add(x)).await.expect("the actor replies")
    }
}

#[derive(Clone)]
struct OursOwn5s(Addr<Sum>);
impl Target for OursOwn5s {
    async fn ask(&self, x: u64) -> u64 {
        self.0.ask(Add(x)).timeout(Duration::from_secs(5)).await.expect("the actor replies")
    }
}

#[derive(Clone)]
struct Actix(actix::Addr<Sum>);
impl Target for Actix {
    async fn ask(&self, x: u64) -> u64 {
        self.0.send(Add(x)).await.expect("the actor replies")
    }
}

#[derive(kameo::Actor)]
struct KameoSum(u64);
impl kameo::message::Message<Add> for KameoSum {
    type Reply = u64;
    async fn handle(&mut self, m: Add, _: &mut kameo::message::Context<Self, u64>) -> u64 {
        self.0 = self.0.wrapping_add(m.0);
        self.0
    }
}

#[derive(Clone)]
struct Kameo(kameo::actor::ActorRef<KameoSum>);
impl Target for Kameo {
    async fn ask(&self, x: u64) -> u64 {
        self.0.ask(Add(x)).await.expect("the actor replies")
    }
}

struct RactorSum;
struct RactorAdd(u64, ractor::RpcReplyPort<u64>);
impl ractor::Actor for RactorSum {
    type Msg = RactorAdd;
    type State = u64;
    type Arguments = ();
    async fn pre_start(&self, _: ractor::ActorRef<RactorAdd>, (): ()) -> Result<u64, ractor::ActorProcessingErr> {
        Ok(0)
    }
    async fn handle(
        &self,
        _: ractor::ActorRef<RactorAdd>,
        RactorAdd(x, reply): RactorAdd,
        sum: &mut u64,
    ) -> Result<(), ractor::ActorProcessingErr> {
        *sum = sum.wrapping_add(x);
        // An asker that is gone is none of its business.
        let _ = reply.send(*sum);
        Ok(())
    }
}

#[derive(Clone)]
struct Ractor(ractor::ActorRef<RactorAdd>);
impl Target for Ractor {
    async fn ask(&self, x: u64) -> u64 {
        let reply = self.0.call(|reply| RactorAdd(x, reply), None).await.expect("the actor takes it");
        reply.expect("the actor replies")
    }
}

/// A current-thread tokio runtime on a thread of its own, until the sender is dropped.
fn dedicated() -> (tokio::runtime::Handle, oneshot::Sender<()>) {
    let (tell, hear) = std::sync::mpsc::sync_channel(1);
    let (stop, stopped) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tell.send(rt.handle().clone()).expect("it is awaited");
        rt.block_on(async { drop(stopped.await) });
    });
    (hear.recv().expect("the thread starts"), stop)
}

fn main() {
    let app = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (raw, _) = raw();
    let spec = || ChildSpec::new("sum", |_: &mut Context<Sum>| Sum(0)).mailbox(Mailbox::bounded(MAILBOX));
    let rt = Runtime::builder().start().expect("the actor runtime");
    let ours = app.block_on(rt.supervise(spec())).expect("the actor");
    let handle_ns = Arc::new(AtomicU64::new(0));
    let rt_metered = Runtime::builder()
        .on_handled(16, move |h| {
            handle_ns.fetch_add(h.handle_time.as_nanos() as u64 * u64::from(h.weight), Ordering::Relaxed);
        })
        .start()
        .expect("the actor runtime");
    let metered = app.block_on(rt_metered.supervise(spec())).expect("the actor");

    let (tell, hear) = std::sync::mpsc::sync_channel(1);
    let actix_thread = std::thread::spawn(move || {
        let runner = actix::System::new();
        let sent = tell.send((actix::System::current(), actix::Arbiter::current()));
        sent.expect("it is awaited");
        runner.run().expect("the actix system ends");
    });
    let (system, arbiter) = hear.recv().expect("the thread starts");
    let actix = Sum::start_in_arbiter(&arbiter, |_| Sum(0));

    let (kameo_rt, kameo_stop) = dedicated();
    let kameo = {
        use kameo::actor::Spawn;
        let _on = kameo_rt.enter();
        KameoSum::spawn_with_mailbox(KameoSum(0), kameo::mailbox::bounded(MAILBOX))
    };
    let (ractor_rt, ractor_stop) = dedicated();
    let spawned = ractor_rt.spawn(async { ractor::Actor::spawn(None, RactorSum, ()).await });
    let (ractor, _) = app.block_on(spawned).expect("the task ends").expect("the actor starts");

    compare(&[
        ("raw mpsc+oneshot", Box::new(|askers| measure(&app, askers, &raw))),
        ("ours", Box::new(|askers| measure(&app, askers, &Ours(ours.clone())))),
        ("ours, metrics", Box::new(|askers| measure(&app, askers, &Ours(metered.clone())))),
        ("ours, timeout(5s)", Box::new(|askers| measure(&app, askers, &OursOwn5s(ours.clone())))),
        ("actix", Box::new(|askers| measure(&app, askers, &Actix(actix.clone())))),
        ("kameo", Box::new(|askers| measure(&app, askers, &Kameo(kameo.clone())))),
        ("ractor", Box::new(|askers| measure(&app, askers, &Ractor(ractor.clone())))),
    ]);
    kameo.kill();
    ractor.stop(None);
    drop((kameo_stop, ractor_stop));
    system.stop();
    actix_thread.join().expect("the actix thread ends");
    for rt in [rt, rt_metered] {
        let report = app.block_on(rt.shutdown(Duration::from_secs(5)));
        assert!(report.clean(), "{report:?}");
    }
}
