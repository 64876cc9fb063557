//! Epochs: a random number per repository that every write replaces.

use moka::sync::Cache;

use super::key::Scope;

/// Repositories whose epoch is remembered. One that is forgotten gets a new epoch, which costs a scan and nothing else.
const REPOSITORIES: u64 = 100_000;

/// See the module documentation of [`super`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    pub fn random() -> Self {
        Self(rand::random())
    }
}

pub(super) struct Epochs {
    current: Cache<Scope, Epoch>,
}

impl Default for Epochs {
    fn default() -> Self {
        Self {
            current: Cache::new(REPOSITORIES),
        }
    }
}

impl Epochs {
    pub fn current(&self, scope: &Scope) -> Epoch {
        self.current.get_with_by_ref(scope, Epoch::random)
    }

    pub fn replace(&self, scope: &Scope) {
        self.current.insert(scope.clone(), Epoch::random());
    }
}
