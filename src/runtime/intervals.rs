//! A timer for actors that were away: actix's `run_interval` makes up for what it missed in one burst, this one skips it.
//! Scheduling is tokio's. Easy to get wrong: the beat is kept from the start, so the first tick after a stall may come early.
use std::{
    pin::Pin,
    task::{Context as TaskContext, Poll, ready},
    time::Duration,
};

use actix::{Actor, ActorFuture, AsyncContext, Context, SpawnHandle};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::thread::timer::FOREVER;

/// Calls `tick` every `period`, first after one `period`, as `AsyncContext::run_interval` does; but of the ticks that came due while
/// the actor was busy or its thread was stuck, it makes up for one only, and then keeps the old beat. For work whose repetition gains
/// nothing: sweeps, heartbeats, refreshes. `ctx.cancel_future` ends it.
///
/// ```
/// # use std::time::Duration;
/// # use actix::prelude::{Actor, Context};
/// use tieout_runtime::intervals::skip_interval;
///
/// struct Janitor;
/// impl Janitor {
///     fn sweep(&mut self) {}
/// }
/// impl Actor for Janitor {
///     type Context = Context<Self>;
///     fn started(&mut self, ctx: &mut Self::Context) {
///         skip_interval(ctx, Duration::from_secs(30), |janitor, _| janitor.sweep());
///     }
/// }
/// ```
///
/// # Panics
/// If `period` is zero, or outside of an actor's thread.
pub fn skip_interval<A, F>(ctx: &mut Context<A>, period: Duration, tick: F) -> SpawnHandle
where
    A: Actor<Context = Context<A>>,
    F: FnMut(&mut A, &mut Context<A>) + 'static,
{
    let period = period.min(FOREVER);
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ctx.spawn(Skipping { interval, tick: Box::new(tick) })
}

type Tick<A> = Box<dyn FnMut(&mut A, &mut Context<A>)>;

struct Skipping<A: Actor<Context = Context<A>>> {
    interval: Interval,
    tick: Tick<A>,
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Skipping<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, actor: &mut A, ctx: &mut Context<A>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            ready!(this.interval.poll_tick(cx));
            (this.tick)(actor, ctx);
        }
    }
}
