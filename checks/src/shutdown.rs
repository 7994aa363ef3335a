//! The shutdown under every interleaving: begun by one, its result everybody's, whoever goes away meanwhile; and a start beside it or
//! beside the loss of the thread. `World` repeats the few lines of `start.rs`, `shutdown.rs` and `rehome.rs` that order these. Easy to
//! get wrong: keep it in step with them; what differs there is not proved here.
use std::{
    future::Future,
    pin::pin,
    task::{Context, Waker},
};

use crate::{
    interleave::{block_on, interleave, thread},
    sync::once::Once,
    sync::primitives::{Arc, AtomicBool, Mutex, Ordering, lock},
};

#[test]
fn one_begins_and_everybody_gets_the_one_result() {
    interleave(|| {
        let once = Arc::new(Once::new());
        let callers: Vec<_> = [1, 2]
            .map(|result| {
                let once = once.clone();
                thread::spawn(move || {
                    if once.begin() {
                        once.end(result);
                    }
                    // A caller left waiting is what the checker calls a deadlock.
                    block_on(once.wait())
                })
            })
            .into_iter()
            .collect();
        let results: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        assert_eq!(results[0], results[1]);
        assert!(!once.begin(), "it is done once");
    });
}

#[test]
fn a_caller_that_goes_away_takes_nothing_from_the_others() {
    interleave(|| {
        let once = Arc::new(Once::new());
        assert!(once.begin());
        let (ender, waiter) = (once.clone(), once.clone());
        let ender = thread::spawn(move || ender.end(7));
        let waiter = thread::spawn(move || block_on(waiter.wait()));
        {
            let cancelled = pin!(once.wait());
            let _ = cancelled.poll(&mut Context::from_waker(Waker::noop()));
        }
        assert_eq!(waiter.join().unwrap(), 7);
        ender.join().unwrap();
        assert_eq!(block_on(once.wait()), 7);
    });
}

/// One actor's start, and what happens beside it.
struct World {
    /// Whether the name is taken, and no other may be.
    registry: Mutex<(bool, bool)>,
    members: Mutex<bool>,
    closing: AtomicBool,
    /// The present thread.
    home: Mutex<usize>,
    launched: AtomicBool,
    /// The thread of the last instance and its number, as the epoch orders them.
    instance: Mutex<(usize, usize)>,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            registry: Mutex::new((false, false)),
            members: Mutex::new(false),
            closing: AtomicBool::new(false),
            home: Mutex::new(1),
            launched: AtomicBool::new(false),
            instance: Mutex::new((0, 0)),
        })
    }

    fn launch(&self, home: usize) {
        let mut instance = lock(&self.instance);
        *instance = (home, instance.1 + 1);
    }

    /// Whether the actor was started.
    fn start(&self) -> bool {
        {
            let mut registry = lock(&self.registry);
            if registry.1 {
                return false;
            }
            registry.0 = true;
        }
        *lock(&self.members) = true;
        if self.closing.load(Ordering::Acquire) {
            return false;
        }
        let home = lock(&self.home);
        self.launched.store(true, Ordering::Release);
        self.launch(*home);
        true
    }

    /// Whether the actor is among those to be stopped.
    fn shut_down(&self) -> bool {
        {
            let mut registry = lock(&self.registry);
            registry.1 = true;
            self.closing.store(true, Ordering::Release);
        }
        *lock(&self.members)
    }

    /// The thread was lost: another takes all that were launched.
    fn lose(&self) {
        *lock(&self.home) = 2;
        let living = lock(&self.registry).0;
        if living && self.launched.load(Ordering::Acquire) {
            self.launch(2);
        }
    }
}

#[test]
fn an_actor_that_starts_beside_a_shutdown_is_refused_or_stopped_by_it() {
    interleave(|| {
        let world = World::new();
        let starter = world.clone();
        let starter = thread::spawn(move || starter.start());
        let seen = world.shut_down();
        assert!(!starter.join().unwrap() || seen, "started, and stopped by nobody");
    });
}

#[test]
fn an_actor_that_starts_beside_the_loss_of_its_thread_ends_up_on_the_next_one() {
    interleave(|| {
        let world = World::new();
        let (starter, watchdog) = (world.clone(), world.clone());
        let starter = thread::spawn(move || starter.start());
        let watchdog = thread::spawn(move || watchdog.lose());
        let seen = world.shut_down();
        let started = starter.join().unwrap();
        watchdog.join().unwrap();
        assert!(!started || seen, "started, and stopped by nobody");
        assert!(!started || lock(&world.instance).0 == 2, "on a thread that is gone");
    });
}
