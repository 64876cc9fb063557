//! Work that nobody waits for, until somebody does.

use std::sync::Arc;

use tokio::sync::SetOnce;

/// Says of one piece of work in the background whether somebody waits for it by now.
#[derive(Clone, Debug, Default)]
pub struct BackgroundWork {
    waited_for: Arc<SetOnce<()>>,
}

impl BackgroundWork {
    /// Somebody waits for it from now on: its further requests need no turns.
    pub fn hurry(&self) {
        // It may have been said before.
        let _ = self.waited_for.set(());
    }

    /// Waits until somebody waits for it.
    pub(super) async fn hurried(&self) {
        self.waited_for.wait().await;
    }
}

/// The same work, not work that goes as fast.
impl PartialEq for BackgroundWork {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.waited_for, &other.waited_for)
    }
}

impl Eq for BackgroundWork {}
