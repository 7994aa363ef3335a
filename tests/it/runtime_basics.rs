//! The actor runtime's everyday promises: start from anywhere, ask, tell, bounds, panics, restarts, stop.
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, Message};
use tieout::runtime::{AskError, Backoff, ChildSpec, Runtime, State};

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
        self.0 += m.0;
        self.0
    }
}
#[derive(Message)]
#[rtype(result = "()")]
struct Boom;
impl Handler<Boom> for Sum {
    type Result = ();
    fn handle(&mut self, _: Boom, _: &mut Context<Self>) {
        panic!("boom at {}", self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ask_is_answered_and_a_panic_is_survived_with_the_queue() {
    let rt = Runtime::builder().start().unwrap();
    let quick = Backoff { first: Duration::from_millis(1), ..Backoff::default() };
    let addr = rt.supervise(ChildSpec::new("sum", |_: &mut Context<Sum>| Sum(0)).backoff(quick)).await.unwrap();
    assert_eq!(addr.ask(Add(2)).await.unwrap(), 2);
    let (boom, behind) = tokio::join!(addr.ask(Boom), addr.ask(Add(5)));
    let AskError::Panicked(info) = boom.unwrap_err() else { panic!("not a panic") };
    assert_eq!(info.text, "boom at 2");
    assert!(info.location.unwrap().contains("runtime_basics.rs"));
    assert!(info.message.unwrap().ends_with("Boom"));
    assert_eq!(behind.unwrap(), 5, "the queued message waited for the new instance");
    assert_eq!(rt.lookup::<Sum>("sum").unwrap().ask(Add(1)).await.unwrap(), 6);
    assert_eq!(rt.health().actors[0].restarts, 1);
    assert_eq!(*addr.watch().borrow(), State::Running);
    let report = rt.shutdown(Duration::from_secs(5)).await;
    assert!(report.clean(), "{report:?}");
    assert!(matches!(addr.ask(Add(1)).await, Err(AskError::Stopped { .. })));
}
