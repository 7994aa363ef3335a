//! The tasks that run the shards: one for each, and a pacer that takes the short turns of all in one go.
//!
//! Short turns are not worth a thread each: once they wait for ticks, the pacer's one task makes them, shard by shard,
//! and hands back a shard whose turns have become long. Easy to get wrong: a napping shard relies on the pacer, so
//! whoever lets it nap must have woken the pacer.
use super::shard::Shard;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, Notify},
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What the tasks share.
struct Team {
    shards: Vec<Mutex<Shard>>,
    window: Duration,
    /// Some shard naps.
    napping: Notify,
    stop: CancellationToken,
}

/// Run `shards` until `stop`, with ticks every `window`.
pub fn start(shards: Vec<Shard>, window: Duration, tasks: &TaskTracker, stop: &CancellationToken) {
    let shards: Vec<_> = shards.into_iter().map(Mutex::new).collect();
    let many = shards.len();
    let team = Arc::new(Team { shards, window, napping: Notify::new(), stop: stop.clone() });
    for index in 0..many {
        tasks.spawn(serve(team.clone(), index));
    }
    tasks.spawn(pace(team));
}

/// One shard's own task: what is urgent, what is long, and the sweeps.
async fn serve(team: Arc<Team>, index: usize) {
    let queue = team.shards[index].lock().await.queue().clone();
    let far = Duration::from_secs(3600);
    let (sweep, tick) = (sleep_until(Instant::now() + far), sleep_until(Instant::now() + far));
    tokio::pin!(sweep, tick);
    let (mut sweeping, mut ticking) = (false, false);
    loop {
        let mut sweep_now = false;
        tokio::select! {
            biased;
            () = team.stop.cancelled() => break,
            () = &mut sweep, if sweeping => sweep_now = true,
            () = queue.filled() => {}
            () = &mut tick, if ticking => {}
        }
        let mut shard = team.shards[index].lock().await;
        if sweep_now {
            shard.sweep().await;
        }
        ticking = false;
        if shard.turn().await {
            if shard.has_long_turns() {
                ticking = true;
                tick.as_mut().reset(Instant::now() + team.window);
                queue.nap();
            } else {
                queue.nap();
                team.napping.notify_one();
            }
        }
        match shard.sweep_again() {
            Some(every) if sweep_now || !sweeping => {
                sweeping = true;
                sweep.as_mut().reset(Instant::now() + every);
            }
            Some(_) => {}
            None => sweeping = false,
        }
    }
    team.shards[index].lock().await.kill_all();
}

/// The ticks.
async fn pace(team: Arc<Team>) {
    let tick = sleep_until(Instant::now());
    tokio::pin!(tick);
    loop {
        tokio::select! {
            () = team.stop.cancelled() => return,
            () = team.napping.notified() => {}
        }
        let mut any = true;
        while any {
            tick.as_mut().reset(Instant::now() + team.window);
            tokio::select! {
                () = team.stop.cancelled() => return,
                () = &mut tick => {}
            }
            any = false;
            for shard in &team.shards {
                // One that is taken makes its turn right now.
                let Ok(mut shard) = shard.try_lock() else { continue };
                if !shard.queue().is_napping() {
                    continue;
                }
                if shard.has_long_turns() {
                    shard.queue().wake();
                } else if shard.turn().await {
                    shard.queue().nap();
                    any = true;
                }
            }
        }
    }
}
