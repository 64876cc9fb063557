//! How many requests for manifests and blobs one search may make before it ends, to be continued by the next request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::counts::RequestKind;
use super::error::UpstreamError;

/// What is left of one search's requests, shared by everything that asks on its behalf.
#[derive(Clone, Debug)]
pub(super) struct SearchBudget {
    limit: usize,
    left: Arc<AtomicUsize>,
}

/// The same budget, not one of the same size.
impl PartialEq for SearchBudget {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.left, &other.left)
    }
}

impl Eq for SearchBudget {}

impl SearchBudget {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            left: Arc::new(AtomicUsize::new(limit)),
        }
    }

    /// How many requests it was spent on.
    pub(super) fn spent(&self) -> usize {
        self.limit - self.left.load(Ordering::Relaxed)
    }

    /// Takes one request of `kind`. Tag listings are not counted: how long they are is bounded elsewhere.
    pub(super) fn spend(&self, kind: RequestKind) -> Result<(), UpstreamError> {
        if !matches!(
            kind,
            RequestKind::Manifest | RequestKind::ManifestHead | RequestKind::Blob
        ) {
            return Ok(());
        }
        let less = |left: usize| left.checked_sub(1);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Ok(()),
            Err(_) => Err(UpstreamError::Unfinished { requests: self.limit }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_for_content_are_counted_and_clones_share() {
        let budget = SearchBudget::new(1);
        assert!(budget.spend(RequestKind::Tags).is_ok());
        assert!(budget.clone().spend(RequestKind::Manifest).is_ok());
        let spent = budget.spend(RequestKind::ManifestHead);
        assert!(matches!(spent, Err(UpstreamError::Unfinished { requests: 1 })));
        assert_eq!(budget.spent(), 1);
    }
}
