//! An address by message instead of by actor: whoever handles `M`, whatever it is. Easy to get wrong: it is the very same handle
//! underneath, with the same mailbox, order, errors and deadlines; it costs one more allocation per ask or awaited tell.
use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use actix::{Actor, Context, Handler, Message};

use crate::handle::{addr::Addr, ask::OnRestart, error::AskError, send_error::SendError};

type Reply<'a, M> = Pin<Box<dyn Future<Output = Result<<M as Message>::Result, AskError<M>>> + Send + 'a>>;
type Told<'a, M> = Pin<Box<dyn Future<Output = Result<(), SendError<M>>> + Send + 'a>>;

trait Handles<M: Message>: Send + Sync {
    fn name(&self) -> &str;
    fn ask(&self, msg: M, timeout: Option<Duration>, on_restart: OnRestart) -> Reply<'_, M>;
    fn tell(&self, msg: M) -> Told<'_, M>;
    fn try_tell(&self, msg: M) -> Result<(), SendError<M>>;
}

impl<A, M> Handles<M> for Addr<A>
where
    A: Actor<Context = Context<A>> + Handler<M, Result: 'static>,
    M: Message<Result: Send> + Send + 'static,
{
    fn name(&self) -> &str {
        Addr::name(self)
    }

    fn ask(&self, msg: M, timeout: Option<Duration>, on_restart: OnRestart) -> Reply<'_, M> {
        let ask = Addr::ask(self, msg).on_restart(on_restart);
        Box::pin(match timeout {
            Some(d) => ask.timeout(d),
            None => ask,
        })
    }

    fn tell(&self, msg: M) -> Told<'_, M> {
        Box::pin(Addr::tell(self, msg))
    }

    fn try_tell(&self, msg: M) -> Result<(), SendError<M>> {
        Addr::try_tell(self, msg)
    }
}

/// A handle to a supervised actor that handles `M`, from `Addr::recipient`. Cheap to clone, `Send + Sync`, follows the actor through
/// restarts and moves.
pub struct Recipient<M: Message> {
    to: Arc<dyn Handles<M>>,
    timeout: Option<Duration>,
    on_restart: OnRestart,
}

impl<A: Actor<Context = Context<A>>> Addr<A> {
    /// This address by one of its messages, to be kept by those who need not know the actor's type.
    pub fn recipient<M>(&self) -> Recipient<M>
    where
        A: Handler<M, Result: 'static>,
        M: Message<Result: Send> + Send + 'static,
    {
        Recipient::new(self.clone())
    }
}

impl<M: Message> Clone for Recipient<M> {
    fn clone(&self) -> Self {
        Self { to: self.to.clone(), timeout: self.timeout, on_restart: self.on_restart }
    }
}

impl<M: Message> fmt::Debug for Recipient<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({})", self.to.name())
    }
}

impl<M: Message + Send + 'static> Recipient<M>
where
    M::Result: Send,
{
    pub(crate) fn new<A>(addr: Addr<A>) -> Self
    where
        A: Actor<Context = Context<A>> + Handler<M, Result: 'static>,
    {
        Self { to: Arc::new(addr), timeout: None, on_restart: OnRestart::Wait }
    }

    /// The actor's name.
    pub fn name(&self) -> &str {
        self.to.name()
    }

    /// The same recipient, whose asks have this deadline in place of the actor's `ask_timeout`.
    pub fn timeout(mut self, d: Duration) -> Self {
        self.timeout = Some(d);
        self
    }

    /// The same recipient, whose asks do this while the actor is down.
    pub fn on_restart(mut self, on_restart: OnRestart) -> Self {
        self.on_restart = on_restart;
        self
    }

    /// As `Addr::ask`, in its cancel safety too.
    pub async fn ask(&self, msg: M) -> Result<M::Result, AskError<M>> {
        self.to.ask(msg, self.timeout, self.on_restart).await
    }

    /// As `Addr::tell`, in its cancel safety too.
    pub async fn tell(&self, msg: M) -> Result<(), SendError<M>> {
        self.to.tell(msg).await
    }

    /// As `Addr::try_tell`.
    pub fn try_tell(&self, msg: M) -> Result<(), SendError<M>> {
        self.to.try_tell(msg)
    }
}
