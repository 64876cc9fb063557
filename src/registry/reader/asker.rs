//! Who asks about which repository: the unit in which searches share permits and are held back.

use std::hash::{BuildHasher as _, RandomState};

use crate::registry::caller::Caller;

/// One repository asked with one credential. Both are hashes that no other process can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asker {
    pub(super) repository: u64,
    pub(super) credential: u64,
}

/// Makes [`Asker`]s.
#[derive(Default)]
pub(super) struct Askers {
    hasher: RandomState,
}

impl Askers {
    /// `repository` is empty for what concerns none.
    pub(super) fn of(&self, repository: &str, caller: &Caller) -> Asker {
        Asker {
            repository: self.hasher.hash_one(repository),
            credential: self.hasher.hash_one(caller.credential()),
        }
    }
}
