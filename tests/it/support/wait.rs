//! Waiting for a condition under a deadline. Leaves what to wait for to the caller, who must name it.
//! Easy to get wrong: a look that never answers; each look is cut off when the deadline passes.
use std::time::{Duration, Instant};

/// For what answers at once unless something is broken. Generous, because two cores may run every test at once.
pub(crate) const SHORT: Duration = Duration::from_secs(20);
/// For what takes real work: a start with migrations, a job, a drain.
pub(crate) const LONG: Duration = Duration::from_secs(45);

/// Looks until `look` gives `Ok`, and returns it; after `within` fails with `what` and the last `Err` seen.
pub(crate) async fn eventually<T, Look, Seen>(within: Duration, what: &str, mut look: Look) -> T
where
    Look: FnMut() -> Seen,
    Seen: Future<Output = Result<T, String>>,
{
    let start = Instant::now();
    let mut last = String::from("nothing");
    let mut pause = Duration::from_millis(2);
    loop {
        match tokio::time::timeout(within.saturating_sub(start.elapsed()), look()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(seen)) => last = seen,
            Err(_) => panic!("waited {within:?} for {what}; the last look did not end; before it: {last}"),
        }
        assert!(start.elapsed() < within, "waited {within:?} for {what}; last seen: {last}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Waits for one future, and names what it stood for when it does not end.
pub(crate) async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {limit:?} for {what}"),
    }
}
