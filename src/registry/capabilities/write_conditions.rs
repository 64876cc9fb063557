//! Whether conditions on writes are of use at an upstream.

use std::time::Duration;

use super::capability::Capability;

const USELESS_FOR: Duration = Duration::from_secs(60 * 60);

/// What was seen of an upstream's conditions on writes.
pub(in crate::registry) struct WriteConditions {
    mislead: Capability,
}

impl Default for WriteConditions {
    fn default() -> Self {
        Self {
            mislead: Capability::new(USELESS_FOR, USELESS_FOR),
        }
    }
}

impl WriteConditions {
    /// Whether they lately failed where nothing had changed.
    pub(in crate::registry) fn mislead(&self) -> bool {
        self.mislead.get() == Some(true)
    }

    /// A condition failed over what was there, and the same write was taken without.
    pub(in crate::registry) fn saw_them_mislead(&self) {
        self.mislead.learn(true);
    }
}
