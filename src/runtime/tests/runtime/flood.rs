//! What too much of something may not push out: events by dead letters, memory by work under way.
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use actix::prelude::*;
use tieout_runtime::{ChildSpec, Event, EventsError, Mailbox, Overflow, Runtime};

use crate::actor::{Add, Boom, LIMIT, Log, event, hold, spec, stop};

#[tokio::test]
async fn a_flood_of_dead_letters_pushes_out_no_event_about_supervision() {
    let rt = Runtime::builder().start().unwrap();
    let narrow = Mailbox::bounded(1).overflow(Overflow::DropNewest);
    let flooded = rt.supervise(spec("flooded", &Log::default()).mailbox(narrow)).await.unwrap();
    let mut events = rt.events();
    let open = hold(&flooded).await;
    for n in 0..10_000 {
        flooded.try_tell(Add(n)).unwrap();
    }
    open.send(()).unwrap();
    let frail = rt.supervise(spec("frail", &Log::default())).await.unwrap();
    frail.ask(Boom).await.unwrap_err();
    frail.ask(Add(1)).await.unwrap();
    // None of these was missed, and none waits behind a dead letter.
    let mut seen = Vec::new();
    while seen.last().is_none_or(|e| !matches!(e, Event::Restarted { .. })) {
        seen.push(events.recv().await.unwrap());
    }
    assert!(
        matches!(
            &seen[..],
            [Event::Started { .. }, Event::Panicked(_), Event::Restarting { .. }, Event::Restarted { .. }]
        ),
        "{seen:?}"
    );
    let missed = loop {
        match events.try_recv() {
            Err(EventsError::MissedDeadLetters(n)) => break n,
            Ok(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(missed > 9_000, "{missed}");
    event(&mut events, "the latest dead letter", |e| matches!(e, Event::DeadLetter { .. })).await;
    stop(rt).await;
}

/// Works until it is told to be done.
struct Worker {
    at_once: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}
impl Actor for Worker {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Work(Arc<tokio::sync::Semaphore>);
impl Handler<Work> for Worker {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, Work(gate): Work, _: &mut Context<Self>) -> Self::Result {
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let at_once = self.at_once.clone();
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            at_once.fetch_sub(1, Ordering::SeqCst);
        })
    }
}

#[derive(Message)]
#[rtype(result = "usize")]
struct HowMany;
impl Handler<HowMany> for Worker {
    type Result = usize;
    fn handle(&mut self, _: HowMany, _: &mut Context<Self>) -> usize {
        self.at_once.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn work_under_way_is_bounded_control_messages_pass_and_all_of_it_is_done() {
    let rt = Runtime::builder().start().unwrap();
    let most = Arc::new(AtomicUsize::new(0));
    let most2 = most.clone();
    let spec = ChildSpec::new("worker", move |_: &mut Context<Worker>| Worker {
        at_once: Arc::default(),
        most: most2.clone(),
    });
    let worker = rt.supervise(spec.max_in_flight(4).mailbox(Mailbox::bounded(16))).await.unwrap();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let mut sent = 0;
    // Until nothing moves any more: the bound of the work, and that of the mailbox behind it.
    while worker.control().ask(HowMany).await.unwrap() < 4 || worker.mailbox_depth() < 16 {
        sent += usize::from(worker.try_tell(Work(gate.clone())).is_ok());
    }
    for _ in 0..100 {
        sent += usize::from(worker.try_tell(Work(gate.clone())).is_ok());
    }
    assert!((20..=22).contains(&sent), "{sent} were taken");
    assert_eq!(worker.control().ask(HowMany).await.unwrap(), 4, "the control lane passes");
    gate.add_permits(sent);
    let asked = tokio::time::timeout(LIMIT, worker.ask(HowMany)).await;
    assert!(asked.unwrap().unwrap() <= 4, "the mailbox is read again");
    worker.stop(LIMIT).await.unwrap();
    assert_eq!((most.load(Ordering::SeqCst), gate.available_permits()), (4, 0), "all is done, never more at once");
    stop(rt).await;
}
