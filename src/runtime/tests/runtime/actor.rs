//! The actor the runtime's tests share: counts, panics, blocks on a gate, replies in every way actix knows. Easy to get
//! wrong: a `Block` handler holds the actor thread until its gate is dropped or opened; keep the gate's sender alive.
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use actix::prelude::*;
use tieout_runtime::{Addr, Backoff, ChildSpec, Runtime, State};

/// How long any test waits for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// What the instances of one actor leave behind, across restarts.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn say(&self, s: impl Into<String>) {
        self.0.lock().unwrap().push(s.into());
    }
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// `!Send` on purpose.
pub(crate) struct Act {
    pub sum: u64,
    pub log: Log,
    pub panic_in_started: bool,
    pub panic_in_hooks: bool,
    pub timer: Option<(Duration, Arc<AtomicUsize>)>,
    pub _not_send: std::rc::Rc<()>,
}

impl Act {
    pub(crate) fn new(log: &Log) -> Self {
        Self {
            sum: 0,
            log: log.clone(),
            panic_in_started: false,
            panic_in_hooks: false,
            timer: None,
            _not_send: std::rc::Rc::new(()),
        }
    }
}

impl Actor for Act {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        assert!(!self.panic_in_started, "not today");
        if let Some((period, ticks)) = self.timer.clone() {
            ctx.run_interval(period, move |_, _| {
                ticks.fetch_add(1, Ordering::Relaxed);
            });
        }
    }
    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        assert!(!self.panic_in_hooks, "in stopping");
        Running::Stop
    }
    fn stopped(&mut self, _: &mut Self::Context) {
        assert!(!self.panic_in_hooks, "in stopped");
        // Panics without a reactor.
        drop(tokio::time::sleep(Duration::from_secs(1)));
        self.log.say(format!("stopped at {}", self.sum));
    }
}

/// Adds and answers the sum.
#[derive(Message, Debug, PartialEq)]
#[rtype(result = "u64")]
pub(crate) struct Add(pub u64);
impl Handler<Add> for Act {
    type Result = u64;
    fn handle(&mut self, m: Add, _: &mut Self::Context) -> u64 {
        self.sum += m.0;
        self.sum
    }
}

/// Panics.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Boom;
impl Handler<Boom> for Act {
    type Result = ();
    fn handle(&mut self, _: Boom, _: &mut Self::Context) {
        panic!("boom at {}", self.sum);
    }
}

/// Blocks the actor thread until the gate opens, then adds 1,000.
#[derive(Message)]
#[rtype(result = "u64")]
pub(crate) struct Block(pub mpsc::Receiver<()>, pub Option<mpsc::Sender<()>>);
impl Handler<Block> for Act {
    type Result = u64;
    fn handle(&mut self, m: Block, _: &mut Self::Context) -> u64 {
        if let Some(entered) = m.1 {
            entered.send(()).unwrap();
        }
        let _ = m.0.recv_timeout(LIMIT);
        self.sum += 1_000;
        self.sum
    }
}

/// (the message, opens its gate, hears that it was entered)
pub(crate) fn block() -> (Block, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (gate, wait) = mpsc::channel();
    let (entered, hear) = mpsc::channel();
    (Block(wait, Some(entered)), gate, hear)
}

/// Occupies the actor; it goes on when the returned sender is used or dropped.
pub(crate) async fn hold(addr: &Addr<Act>) -> mpsc::Sender<()> {
    let (gate, open, entered) = block();
    addr.tell(gate).await.unwrap();
    tokio::task::spawn_blocking(move || entered.recv_timeout(LIMIT).unwrap()).await.unwrap();
    open
}

/// Stops the actor from inside.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StopYourself;
impl Handler<StopYourself> for Act {
    type Result = ();
    fn handle(&mut self, _: StopYourself, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// What an asynchronous reply does.
pub(crate) enum Do {
    /// Waits for the channel, then answers.
    Wait(tokio::sync::oneshot::Receiver<()>),
    Panic,
    /// Blocks the thread until the channel closes.
    Block(mpsc::Receiver<()>),
}

macro_rules! asynchronous {
    ($name:ident, $result:ty, $body:expr) => {
        #[derive(Message)]
        #[rtype(result = "u64")]
        pub(crate) struct $name(pub(crate) Do);
        impl Handler<$name> for Act {
            type Result = $result;
            fn handle(&mut self, m: $name, _: &mut Self::Context) -> Self::Result {
                let run: fn(&mut Act, Do) -> $result = $body;
                run(self, m.0)
            }
        }
    };
}

async fn act_on(what: Do) {
    match what {
        Do::Wait(gate) => drop(gate.await),
        Do::Panic => panic!("late boom"),
        Do::Block(gate) => drop(gate.recv_timeout(LIMIT)),
    }
}

asynchronous!(ViaFuture, ResponseFuture<u64>, |_, what| Box::pin(async move {
    act_on(what).await;
    7
}));
asynchronous!(ViaActFuture, ResponseActFuture<Act, u64>, |act, what| Box::pin(
    act_on(what).into_actor(act).map(|(), act, _| {
        act.sum += 1;
        act.sum
    })
));
asynchronous!(ViaAtomic, AtomicResponse<Act, u64>, |act, what| AtomicResponse::new(Box::pin(
    act_on(what).into_actor(act).map(|(), act, _| {
        act.sum += 1;
        act.sum
    })
)));

/// Answers through `MessageResult`.
#[derive(Message)]
#[rtype(result = "(u64, u64)")]
pub(crate) struct Twice;
impl Handler<Twice> for Act {
    type Result = MessageResult<Twice>;
    fn handle(&mut self, _: Twice, _: &mut Self::Context) -> Self::Result {
        MessageResult((self.sum, self.sum))
    }
}

/// A pause short enough for tests.
pub(crate) fn quick() -> Backoff {
    Backoff { first: Duration::from_millis(1), max: Duration::from_millis(1), ..Backoff::default() }
}

/// An actor that starts from zero at every start.
pub(crate) fn spec(name: &str, log: &Log) -> ChildSpec<Act> {
    let log = log.clone();
    ChildSpec::new(name, move |_| Act::new(&log)).backoff(quick())
}

/// A runtime with one actor.
pub(crate) async fn one(adjust: impl FnOnce(ChildSpec<Act>) -> ChildSpec<Act>) -> (Runtime, Addr<Act>, Log) {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    let addr = rt.supervise(adjust(spec("act", &log))).await.unwrap();
    (rt, addr, log)
}

/// Awaits a state of the actor.
pub(crate) async fn state(addr: &Addr<Act>, what: &str, is: impl Fn(&State) -> bool) -> State {
    let mut states = addr.watch();
    let found = tokio::time::timeout(LIMIT, states.wait_for(|s| is(s))).await;
    match found {
        Ok(Ok(s)) => s,
        other => panic!("{what} did not come: {other:?}"),
    }
}

/// Awaits an event.
pub(crate) async fn event(
    events: &mut tieout_runtime::Events,
    what: &str,
    is: impl Fn(&tieout_runtime::Event) -> bool,
) -> tieout_runtime::Event {
    let found = async {
        loop {
            let event = events.recv().await.unwrap();
            if is(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(LIMIT, found).await.unwrap_or_else(|_| panic!("{what} was not reported"))
}

/// Stops the runtime; everything must end in time.
pub(crate) async fn stop(rt: Runtime) {
    let report = rt.shutdown(LIMIT).await;
    assert!(report.clean(), "{report:?}");
}
