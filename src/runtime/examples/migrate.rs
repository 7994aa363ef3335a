//! From `Actor::start()` to `Runtime::supervise`, side by side: the same actor, the same messages, both run. Run by
//! `cargo run -p tieout-runtime --example migrate`; the test `runtime_examples` holds it to its output. The long version is docs/guides/from-actix-web.md.
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, Message};
use tieout_runtime::{AskError, ChildSpec, Runtime};

// The actor: not a line of it changes.
struct Ledger {
    balance: i64,
}
impl Actor for Ledger {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "i64")]
struct Post(i64);
impl Handler<Post> for Ledger {
    type Result = i64;
    fn handle(&mut self, Post(amount): Post, _: &mut Context<Self>) -> i64 {
        assert!(amount != 0, "an empty posting");
        self.balance += amount;
        self.balance
    }
}

/// Before. It needs a `LocalSet`: here actix's own System. `start()` from a plain tokio program panics.
fn before() {
    actix::System::new().block_on(async {
        let ledger = Ledger { balance: 0 }.start();
        println!("before: balance {:?}", ledger.send(Post(100)).await);
        println!("before: a panic says {:?}", ledger.send(Post(0)).await);
        println!("before: and then {:?}, for ever", ledger.send(Post(1)).await);
    });
}

/// After. Any thread, any runtime.
async fn after() -> anyhow::Result<()> {
    let rt = Runtime::builder().start()?;
    //  Ledger { balance: 0 }.start()
    let ledger = rt.supervise(ChildSpec::new("ledger", |_: &mut Context<Ledger>| Ledger { balance: 0 })).await?;
    //  ledger.send(Post(100)).await
    println!("after: balance {}", ledger.ask(Post(100)).await?);
    if let Err(AskError::Panicked(info)) = ledger.ask(Post(0)).await {
        println!("after: a panic says {:?}", info.text);
    }
    println!("after: and then {}, from a new instance", ledger.ask(Post(1)).await?);
    //  ledger.do_send(Post(5))
    ledger.tell(Post(5)).await?;
    println!("after: balance {}", ledger.ask(Post(1)).await?);
    println!("after: clean {}", rt.shutdown(Duration::from_secs(5)).await.clean());
    Ok(())
}

fn main() -> anyhow::Result<()> {
    std::panic::set_hook(Box::new(|_| {}));
    before();
    tokio::runtime::Runtime::new()?.block_on(after())
}
