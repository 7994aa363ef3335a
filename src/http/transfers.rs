//! Places for uploads and downloads: each holds a file, a task or a queue, so their number is bounded.
use super::{
    error::{ApiError, ApiResult},
    state::AppState,
};
use http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;

impl AppState {
    /// A place for one transfer, given back when it is dropped.
    pub(super) fn transfer(&self) -> ApiResult<OwnedSemaphorePermit> {
        if self.shutdown.is_cancelled() {
            return Err(ApiError::draining());
        }
        self.transfers.clone().try_acquire_owned().map_err(|_| {
            let max = self.config.limits.max_transfers;
            let detail = format!("{max} uploads and downloads are under way already");
            ApiError::limit(StatusCode::SERVICE_UNAVAILABLE, "max_transfers", detail)
        })
    }
}
