//! An actor that records what it is sent: stands in for whoever the actor under test talks to. Easy to get wrong: `expect`
//! takes messages in the order they came; what a test does not look at stays recorded.
use std::{
    collections::VecDeque,
    fmt::Debug,
    panic::Location,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{
    Actor, Context, Handler, Message,
    dev::{MessageResponse, OneshotSender},
};
use tokio::sync::Notify;

use crate::{
    handle::{addr::Addr, error::StartError, runtime::Runtime, spec::ChildSpec},
    sync::primitives::lock,
};

/// How long `next` and `expect` wait; virtual under a `TestRuntime`.
const WAIT: Duration = Duration::from_secs(10);

/// Messages a probe records and nobody takes before it panics.
const RECORDED_MAX: usize = 100_000;

type Answer<M> = Box<dyn FnMut(&M) -> <M as Message>::Result + Send>;

struct Record<M: Message> {
    seen: Mutex<VecDeque<M>>,
    arrived: Notify,
    answer: Mutex<Option<Answer<M>>>,
}

/// The actor inside a [`Probe`].
pub struct Recorder<M: Message>(Arc<Record<M>>);

impl<M: Message + 'static> Actor for Recorder<M> {
    type Context = Context<Self>;
}

/// What a [`Recorder`] returns: an answer, or none, which the asker sees as `Aborted(ReplyDropped)`.
pub struct Reply<R>(Option<R>);

impl<A: Actor, M: Message> MessageResponse<A, M> for Reply<M::Result> {
    fn handle(self, _: &mut A::Context, tx: Option<OneshotSender<M::Result>>) {
        if let (Some(value), Some(tx)) = (self.0, tx) {
            // An error says that the asker is gone.
            let _ = tx.send(value);
        }
    }
}

impl<M: Message + Send + 'static> Handler<M> for Recorder<M> {
    type Result = Reply<M::Result>;

    fn handle(&mut self, msg: M, _: &mut Context<Self>) -> Self::Result {
        // Out of the lock while it runs, for it is the test's code.
        let mut answer = Lent { of: &self.0.answer, answer: lock(&self.0.answer).take() };
        let reply = answer.answer.as_mut().map(|answer| answer(&msg));
        drop(answer);
        let mut seen = lock(&self.0.seen);
        assert!(seen.len() < RECORDED_MAX, "a probe has recorded {RECORDED_MAX} messages that nobody takes");
        seen.push_back(msg);
        drop(seen);
        self.0.arrived.notify_one();
        Reply(reply)
    }
}

/// Puts the answer back, after a panic of it too, unless there is another by then.
struct Lent<'a, M: Message> {
    of: &'a Mutex<Option<Answer<M>>>,
    answer: Option<Answer<M>>,
}

impl<M: Message> Drop for Lent<'_, M> {
    fn drop(&mut self) {
        let mut of = lock(self.of);
        if of.is_none() {
            *of = self.answer.take();
        }
    }
}

/// An actor that records the messages of one type, and the test's end of it. Its record outlives restarts.
///
/// ```
/// use std::time::Duration;
/// use tieout_runtime::test_kit::{Probe, TestRuntime};
///
/// #[derive(actix::Message, Debug, PartialEq)]
/// #[rtype(result = "usize")]
/// struct Word(&'static str);
///
/// let rt = TestRuntime::new();
/// rt.block_on(async {
///     let probe = Probe::<Word>::start(&rt, "probe").await.unwrap();
///     probe.reply_with(|word| word.0.len());
///     assert_eq!(probe.addr().ask(Word("four")).await.unwrap(), 4);
///     probe.expect(Word("four")).await;
///     probe.expect_none(Duration::from_secs(5)).await;
/// });
/// rt.assert_clean();
/// ```
pub struct Probe<M: Message + 'static> {
    addr: Addr<Recorder<M>>,
    record: Arc<Record<M>>,
}

impl<M: Message + Send + 'static> Probe<M> {
    /// Starts one; on a `TestRuntime` or on a `Runtime`.
    ///
    /// Errors and cancel safety: as of `Runtime::supervise`.
    pub async fn start(rt: &Runtime, name: &str) -> Result<Self, StartError> {
        let record =
            Arc::new(Record { seen: Mutex::new(VecDeque::new()), arrived: Notify::new(), answer: Mutex::new(None) });
        let record2 = record.clone();
        let addr = rt.supervise(ChildSpec::new(name, move |_| Recorder(record2.clone()))).await?;
        Ok(Self { addr, record })
    }

    /// Its address, for the actor under test.
    pub fn addr(&self) -> &Addr<Recorder<M>> {
        &self.addr
    }

    /// From now on asks are answered so. It runs on the actor's thread: quick, and no sends to the probe itself.
    pub fn reply_with(&self, answer: impl FnMut(&M) -> M::Result + Send + 'static) {
        let before = lock(&self.record.answer).replace(Box::new(answer));
        drop(before);
    }

    /// Messages recorded and not taken yet.
    pub fn recorded(&self) -> usize {
        lock(&self.record.seen).len()
    }

    fn take(&self) -> Option<M> {
        lock(&self.record.seen).pop_front()
    }

    async fn within(&self, d: Duration) -> Option<M> {
        let next = async {
            loop {
                if let Some(msg) = self.take() {
                    return msg;
                }
                self.record.arrived.notified().await;
            }
        };
        tokio::time::timeout(d, next).await.ok()
    }

    /// The next message, in the order they came. Cancel safety: dropping the future takes none.
    ///
    /// # Panics
    /// When none comes within ten seconds.
    #[track_caller]
    pub fn next(&self) -> impl Future<Output = M> {
        let at = Location::caller();
        async move {
            let next = self.within(WAIT).await;
            next.unwrap_or_else(|| panic!("{at}: {} was sent nothing within {WAIT:?}", self.addr.name()))
        }
    }

    /// The next message is this one.
    ///
    /// # Panics
    /// When it is another, or none comes within ten seconds.
    #[track_caller]
    pub fn expect(&self, wanted: M) -> impl Future<Output = ()>
    where
        M: PartialEq + Debug,
    {
        let at = Location::caller();
        async move {
            let got = self.within(WAIT).await;
            assert!(got.as_ref() == Some(&wanted), "{at}: {} expected {wanted:?}, got {got:?}", self.addr.name());
        }
    }

    /// Nothing is recorded, and nothing comes for as long as `d`.
    ///
    /// # Panics
    /// When something does.
    #[track_caller]
    pub fn expect_none(&self, d: Duration) -> impl Future<Output = ()>
    where
        M: Debug,
    {
        let at = Location::caller();
        async move {
            if let Some(got) = self.within(d).await {
                panic!("{at}: {} expected nothing for {d:?}, got {got:?}", self.addr.name());
            }
        }
    }
}
