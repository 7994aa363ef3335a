//! Actors start from every kind of thread. Raw actix panics in `spawn_local` outside of its own System.
use tieout_runtime::{Runtime, StartError};

use crate::actor::{Add, LIMIT, Log, one, spec, stop};

/// Starts a runtime and an actor, asks, stops; all from the calling thread.
async fn whole_life() {
    let (rt, addr, _) = one(|s| s).await;
    assert_eq!(addr.ask(Add(3)).await.unwrap(), 3);
    stop(rt).await;
}

#[test]
fn an_actor_starts_from_the_main_thread_without_any_tokio() {
    let (rt, addr) = futures_util::FutureExt::now_or_never(async {
        let rt = Runtime::builder().start().unwrap();
        (rt, ())
    })
    .map(|(rt, ())| {
        let handle = rt.clone();
        let log = Log::default();
        // No reactor on this thread: a plain park loop drives the futures.
        let addr = block_on(async move { handle.supervise(spec("act", &log)).await.unwrap() });
        (rt, addr)
    })
    .unwrap();
    assert_eq!(block_on(async { addr.ask(Add(3)).await.unwrap() }), 3);
    assert_eq!(block_on(async { addr.ask(Add(3)).timeout(LIMIT).await.unwrap() }), 6);
    assert!(block_on(async { addr.stop(LIMIT).await }).is_ok());
    assert!(block_on(async { rt.shutdown(LIMIT).await }).clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_starts_from_a_tokio_worker() {
    tokio::spawn(whole_life()).await.unwrap();
}

#[tokio::test]
async fn an_actor_starts_from_a_current_thread_runtime() {
    whole_life().await;
}

#[test]
fn an_actor_starts_from_a_plain_std_thread() {
    std::thread::spawn(|| block_on(whole_life())).join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_starts_from_spawn_blocking() {
    let on_pool = tokio::task::spawn_blocking(|| tokio::runtime::Handle::current().block_on(whole_life()));
    on_pool.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_threads_share_one_actor() {
    let (rt, addr, _) = one(|s| s).await;
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let addr = addr.clone();
            std::thread::spawn(move || block_on(async { addr.ask(Add(1)).await.unwrap() }))
        })
        .collect();
    let mut sums: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    sums.sort_unstable();
    assert_eq!(sums, [1, 2, 3, 4]);
    stop(rt).await;
}

#[tokio::test]
async fn the_registry_finds_an_actor_by_name_from_any_thread_and_follows_restarts() {
    let (rt, addr, log) = one(|s| s).await;
    assert!(matches!(rt.supervise(spec("act", &log)).await, Err(StartError::NameTaken(_))));
    assert!(addr.ask(crate::actor::Boom).await.is_err());
    let rt2 = rt.clone();
    let found = std::thread::spawn(move || {
        let found = rt2.lookup::<crate::actor::Act>("act").unwrap();
        block_on(async { found.ask(Add(2)).await.unwrap() })
    });
    assert_eq!(found.join().unwrap(), 2, "the new instance answers, found by its name");
    addr.stop(LIMIT).await.unwrap();
    assert!(rt.lookup::<crate::actor::Act>("act").is_none(), "no dead address is kept");
    let again = rt.supervise(spec("act", &log)).await.unwrap();
    assert_eq!(again.ask(Add(1)).await.unwrap(), 1);
    stop(rt).await;
}

/// Drives a future on a thread without any reactor.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(out) = future.as_mut().poll(&mut cx) {
            return out;
        }
        std::thread::park();
    }
}
