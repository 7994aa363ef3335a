//! Both preludes in one file: every name that is used here would be ambiguous if they clashed.
use actix::prelude::*;
use tieout_runtime::prelude::*;

use crate::actor::{Act, Add, LIMIT, Log};

#[tokio::test]
async fn the_prelude_and_that_of_actix_clash_in_no_name() {
    let rt = Runtime::builder().on_stall(OnStall::Report).start().unwrap();
    let log = Log::default();
    let spec = ChildSpec::new("act", move |ctx: &mut Context<Act>| {
        let _: WeakSupervisedAddr<Act> = ctx.own_addr();
        Act::new(&log)
    });
    let spec = spec.restart(Restart::Transient).backoff(Backoff::default()).on_exhausted(OnExhausted::GiveUp);
    let group: Group = rt.group(GroupSpec::new("group", Strategy::OneForOne)).unwrap();
    let started: Result<SupervisedAddr<Act>, StartError> =
        group.supervise(spec.mailbox(Mailbox::bounded(8).overflow(Overflow::Wait))).await;
    let to: SupervisedRecipient<Add> = started.unwrap().recipient().on_restart(OnRestart::Fail);
    let sum: Result<u64, AskError<Add>> = to.ask(Add(2)).await;
    assert_eq!(sum.unwrap(), 2);
    let act = rt.lookup::<Act>("act").unwrap();
    let stopped: Result<(), StopError> = act.stop(LIMIT).await;
    assert_eq!(stopped, Ok(()));
    let weak: WeakRuntime = rt.downgrade();
    assert!(weak.upgrade().unwrap().shutdown(LIMIT).await.clean());
    // What only actix has.
    let _: fn(&mut Act, &mut Context<Act>) -> Running = Actor::stopping;
    let _: Option<(Addr<Act>, Recipient<Add>)> = None;
    let _: Option<tieout_runtime::actix::Addr<Act>> = None::<Addr<Act>>;
    fn snapshot_of<A: Recover>(actor: &A) -> A::Snapshot {
        actor.snapshot()
    }
    let _ = snapshot_of::<crate::recover::Kept>;
    let _ = |event: &Event, why: &StopReason| matches!(event, Event::Stopped { why: because, .. } if because == why);
}
