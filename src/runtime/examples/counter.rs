//! A supervised counter: what each failure looks like from outside. Run by `cargo run -p tieout-runtime --example counter`; the test
//! `runtime_examples` holds it to its output.
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, Message};
use tieout_runtime::{AskError, Backoff, ChildSpec, Event, OnExhausted, Runtime, State};

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
        self.0 = self.0.checked_add(n).expect("the sum fits");
        self.0
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // A panic is caught and reported below; the default hook's backtrace would only repeat it.
    std::panic::set_hook(Box::new(|_| {}));
    let rt = Runtime::builder().start()?;
    let mut events = rt.events();

    // Two restarts within a minute, after 20 ms and 40 ms; a third failure is one too many.
    let spec = ChildSpec::new("counter", |_: &mut Context<Counter>| Counter(0))
        .backoff(Backoff { first: Duration::from_millis(20), jitter: 0.0, ..Backoff::default() })
        .intensity(2, Duration::from_secs(60))
        .on_exhausted(OnExhausted::Escalate);
    let counter = rt.supervise(spec).await?;
    println!("counted to {}", counter.ask(Add(40)).await?);

    for _ in 0..2 {
        match counter.ask(Add(u64::MAX)).await {
            Err(AskError::Panicked(info)) => println!("this asker is told: {}", info.text),
            other => println!("unexpected: {other:?}"),
        }
        // The message waits in the queue while the counter is down; the same handle reaches the new instance.
        counter.ask(Add(u64::MAX - 7)).await?;
        println!("a new instance counts from zero");
    }

    // The third time.
    let _ = counter.ask(Add(u64::MAX)).await;
    counter.watch().wait_for(|s| matches!(s, State::Stopped { .. })).await?;
    match counter.ask(Add(1)).await {
        Err(AskError::Stopped { msg: Add(n), why }) => println!("Add({n}) comes back: {why}"),
        other => println!("unexpected: {other:?}"),
    }
    // Marked a moment after the counter is gone, so awaited rather than looked at; an owner would end the process here.
    let escalated = tokio::time::timeout(Duration::from_secs(5), rt.failed().wait_for(Option::is_some)).await?.is_ok();
    println!("escalated: {escalated}");

    while let Ok(event) = events.try_recv() {
        if let Event::Restarting { attempt, retry_after, .. } = event {
            println!("restart {attempt} after {retry_after:?}");
        }
    }
    println!("clean: {}", rt.shutdown(Duration::from_secs(5)).await.clean());
    Ok(())
}
