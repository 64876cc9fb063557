//! How many requests a piece of work may make, and how fast, whichever registries they go to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::UpstreamError;
use super::request_rate::RequestRate;

/// A bound on requests, shared by its clones. The default is none.
#[derive(Clone, Debug, Default)]
pub struct RequestAllowance(Option<Arc<AllowanceBounds>>);

#[derive(Debug)]
struct AllowanceBounds {
    rate: Option<RequestRate>,
    most: Option<u64>,
    made: AtomicU64,
}

impl RequestAllowance {
    /// At most so many requests a second, and so many altogether.
    pub fn new(per_second: Option<u32>, most: Option<u64>) -> Self {
        Self(Some(Arc::new(AllowanceBounds {
            rate: per_second.map(RequestRate::new),
            most,
            made: AtomicU64::new(0),
        })))
    }

    /// How many requests were made.
    pub fn made(&self) -> u64 {
        self.0.as_ref().map_or(0, |bounds| bounds.made.load(Ordering::Relaxed))
    }

    /// Waits until one more request may be made.
    ///
    /// # Errors
    /// If all were made.
    pub(super) async fn take(&self) -> Result<(), UpstreamError> {
        let Some(bounds) = &self.0 else {
            return Ok(());
        };
        let most = bounds.most.unwrap_or(u64::MAX);
        let more = |made: u64| (made < most).then_some(made + 1);
        let taken = bounds.made.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if taken.is_err() {
            return Err(UpstreamError::AllowanceSpent { requests: most });
        }
        if let Some(rate) = &bounds.rate {
            rate.wait().await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn clones_share_one_allowance() {
        let allowance = RequestAllowance::new(None, Some(2));
        let clone = allowance.clone();
        assert!(allowance.take().await.is_ok() && clone.take().await.is_ok());
        let spent = allowance.take().await;
        assert!(matches!(spent, Err(UpstreamError::AllowanceSpent { requests: 2 })));
        assert_eq!(clone.made(), 2);
        assert!(RequestAllowance::default().take().await.is_ok());
    }
}
