//! The threads of the shards: each runs one shard and the sockets of its connections, and nothing else.
//!
//! A socket's frames are read and written by one thread, so a message wakes no other one and what many sockets ask in
//! one look at them goes to the hub together. Easy to get wrong: a future spawned here must not block, or every
//! connection of the shard waits; what registers with a runtime (a socket, a timer) must be made in it.
use super::shard::Shard;
use futures_util::FutureExt;
use std::{io, panic::AssertUnwindSafe, pin::pin, thread};
use tokio::{
    runtime::{Builder, Handle},
    task::yield_now,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The threads. Dropping this does not end them: the token does.
#[derive(Debug)]
pub struct Workers(Vec<Handle>);

impl Workers {
    /// A thread for each of `shards`, until `stop`; each counts in `tasks` until it has ended.
    ///
    /// # Errors
    /// The system's, when there can be no further thread.
    pub fn start(shards: Vec<Shard>, tasks: &TaskTracker, stop: &CancellationToken) -> io::Result<Self> {
        // A child: threads already started end when a later one can't be.
        let stop = stop.child_token();
        let undo = stop.clone().drop_guard();
        let mut handles = Vec::new();
        for (index, shard) in shards.into_iter().enumerate() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            let (stop, counted) = (stop.clone(), tasks.token());
            thread::Builder::new().name(format!("tieout-ws-{index}")).spawn(move || {
                // A task among the sockets' own: what `block_on` itself polls would always come before them.
                let ended = runtime.block_on(runtime.spawn(run(shard, stop)));
                if let Err(error) = ended {
                    log::error!("a thread of the live connections ended early: {error}");
                }
                drop(runtime);
                drop(counted);
            })?;
        }
        undo.disarm();
        Ok(Self(handles))
    }

    /// Run `task` on the thread of `shard`. Dropped when that has ended.
    pub fn spawn(&self, shard: usize, task: impl Future<Output = ()> + Send + 'static) {
        self.0[shard].spawn(task);
    }
}

/// The shard, until `stop`. A panic of its own costs its connections, which come back, and nothing else.
async fn run(mut shard: Shard, stop: CancellationToken) {
    while AssertUnwindSafe(serve(&mut shard, &stop)).catch_unwind().await.is_err() {
        metrics::counter!("tieout_rt_shard_panics_total").increment(1);
        log::error!("a shard of the hub panicked; its connections are closed");
        shard.abandon().await;
    }
    shard.kill_all();
}

async fn serve(shard: &mut Shard, stop: &CancellationToken) {
    let queue = shard.queue().clone();
    let mut sweep = pin!(sleep_until(Instant::now()));
    let (mut every, mut napped) = (None, false);
    loop {
        let mut sweep_now = false;
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = &mut sweep, if every.is_some() => sweep_now = true,
            () = queue.filled() => {}
            // The sockets first: what came for them in the meantime goes along.
            () = yield_now(), if napped => {}
        }
        if sweep_now {
            shard.sweep().await;
        }
        napped = match shard.turn().await {
            None => false,
            Some(left) => {
                queue.nap();
                // The whole thread: to be woken for each message costs more than the message.
                thread::sleep(left);
                true
            }
        };
        let again = shard.sweep_again();
        // Also when it changes: a drain looks more often, and does not wait for the look that was planned before it.
        if sweep_now || again != every {
            every = again;
            if let Some(pause) = again {
                sweep.as_mut().reset(Instant::now() + pause);
            }
        }
    }
}
