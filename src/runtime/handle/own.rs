//! What an actor learns of itself from its context. Easy to get wrong: it is the turn that says whose context it is, so a context of the
//! same type that is made by hand inside of that turn is taken for it.
use std::sync::Arc;

use actix::{Actor, Context};

use crate::{
    handle::{recover::Recover, runtime::Inner, weak_addr::WeakAddr, weak_runtime::WeakRuntime},
    host::{here, snapshots},
};

/// An actor's own address, runtime and snapshot, from the context it is given: in its factory, `started()`, handlers, timers, streams and
/// futures.
///
/// ```
/// use actix::prelude::{Actor, Context, Handler, Message};
/// use tieout_runtime::{ChildSpec, OwnContext, Runtime, WeakRuntime};
///
/// struct Session;
/// impl Actor for Session {
///     type Context = Context<Self>;
/// }
///
/// /// Starts a session for each message.
/// struct Listener(WeakRuntime);
/// impl Actor for Listener {
///     type Context = Context<Self>;
/// }
/// #[derive(Message)]
/// #[rtype(result = "String")]
/// struct Accept;
/// impl Handler<Accept> for Listener {
///     type Result = actix::ResponseFuture<String>;
///     fn handle(&mut self, _: Accept, _: &mut Context<Self>) -> Self::Result {
///         let rt = self.0.upgrade();
///         Box::pin(async move {
///             let rt = rt.expect("the runtime is there while its actors are asked");
///             let session = rt.supervise(ChildSpec::anonymous(|_: &mut Context<Session>| Session)).await;
///             session.expect("it starts").name().to_owned()
///         })
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rt = Runtime::builder().start()?;
/// let spec = ChildSpec::new("listener", |ctx: &mut Context<Listener>| Listener(ctx.own_runtime()));
/// let listener = rt.supervise(spec).await?;
/// let names = [listener.ask(Accept).await?, listener.ask(Accept).await?];
/// assert!(names[0].starts_with("Session#") && names[0] != names[1], "{names:?}");
/// # rt.shutdown(std::time::Duration::from_secs(5)).await;
/// # Ok(())
/// # }
/// ```
pub trait OwnContext<A: Actor<Context = Context<A>>> {
    /// This actor's address, valid across restarts, unlike actix's `ctx.address()`. It keeps nothing alive. Outside of a supervised
    /// actor's turn (a plain actix child, a context made by hand) it is of no actor.
    fn own_addr(&self) -> WeakAddr<A>;

    /// The runtime that hosts this actor. As for other contexts, see `own_addr`.
    fn own_runtime(&self) -> WeakRuntime;

    /// Takes a snapshot now, beside those on schedule. For where an actor stops itself outside of a message (in a timer, a stream, a
    /// future): there the runtime does not come between `ctx.stop()` and the end. False if the actor was not started by
    /// `ChildSpec::recovering`, or was moved off this thread.
    fn keep_snapshot(&self, actor: &A) -> bool
    where
        A: Recover;
}

impl<A: Actor<Context = Context<A>>> OwnContext<A> for Context<A> {
    fn own_addr(&self) -> WeakAddr<A> {
        here::current().map_or_else(WeakAddr::dangling, |shared| WeakAddr::new(&shared))
    }

    fn own_runtime(&self) -> WeakRuntime {
        let runtime = here::current::<A>().and_then(|shared| shared.core.runtime.get()?.upgrade());
        let inner: Option<Arc<Inner>> = runtime.and_then(|runtime| runtime.downcast().ok());
        inner.map_or_else(WeakRuntime::default, |inner| WeakRuntime::new(&inner))
    }

    fn keep_snapshot(&self, actor: &A) -> bool
    where
        A: Recover,
    {
        here::current_with_epoch().is_some_and(|(shared, epoch)| snapshots::take(&shared, epoch, actor))
    }
}
