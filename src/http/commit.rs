//! A change: commit and publication in one task that outlives the request.
//!
//! Leaves SQL to `db` and delivery to the hub. Easy to get wrong: a client that goes away drops its handler's future;
//! were the commit inside it, the event of a committed change could stay unpublished until the next one.
use super::{
    error::{ApiError, ApiResult},
    state::AppState,
};
use crate::db::{Committed, StoreError};
use std::future::Future;

impl AppState {
    /// Runs the change to its end, publishes its event, and gives the changed value.
    pub(super) async fn commit<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<Committed<T>, StoreError>> + Send + 'static,
    ) -> ApiResult<T> {
        let realtime = self.realtime.clone();
        let task = self.tracker.spawn(async move {
            let committed = change.await?;
            if let Some(event) = committed.event {
                realtime.publish(event);
            }
            Ok::<_, StoreError>(committed.value)
        });
        match task.await {
            Ok(done) => Ok(done?),
            Err(lost) => Err(ApiError::internal(format!("the task of a change was lost: {lost}"))),
        }
    }
}
