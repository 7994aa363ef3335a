//! A supervised actor inside a plain tokio program: `cargo run -p tieout-runtime --example embed`. The actor lives on a thread of its own,
//! may be `!Send`, and its handle survives the panic in the middle.
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, Message};
use tieout_runtime::{ChildSpec, Runtime};

struct Counter(u64);
impl Actor for Counter {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "u64")]
struct Add(u64);
impl Handler<Add> for Counter {
    type Result = u64;
    fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u64 {
        self.0 = self.0.checked_add(n).expect("a sum below 2^64");
        self.0
    }
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> anyhow::Result<()> {
    let rt = Runtime::builder().start()?;
    let counter = rt.supervise(ChildSpec::new("counter", |_: &mut Context<Counter>| Counter(0))).await?;
    counter.tell(Add(40)).await?;
    println!("40 + 2 = {}", counter.ask(Add(2)).await?);
    if let Err(e) = counter.ask(Add(u64::MAX)).await {
        println!("the asker is told: {e}");
    }
    println!("restarted, the same handle counts from zero: {}", counter.ask(Add(7)).await?);
    println!("{:?}", rt.shutdown(Duration::from_secs(5)).await);
    Ok(())
}
