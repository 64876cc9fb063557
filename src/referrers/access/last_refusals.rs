//! When the registry last refused a credential: what it gave before that proves no right any more.

use std::time::Duration;

use super::{AccessList, REMEMBERED, Right};
use crate::cache::RepositoryKey;
use crate::expiring_map::ExpiringMap;
use crate::referrers::context::RepositoryContext;
use crate::registry::CredentialHash;

/// Longer than any search takes.
const KEPT: Duration = Duration::from_secs(600);

/// The time of the last refusal, since 1970, by repository and credential.
pub(super) struct LastRefusals(ExpiringMap<(RepositoryKey, CredentialHash), Duration>);

impl Default for LastRefusals {
    fn default() -> Self {
        let refused = ExpiringMap::builder(REMEMBERED).time_to_live(KEPT);
        Self(refused.least_recently_used_first().build())
    }
}

impl AccessList {
    /// Time since 1970, as rights are dated.
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// The same as [`Self::allow`] of a manifest that the upstream was asked for at the time `asked`, unless it refused this caller
    /// since then.
    pub fn allow_as_of(&self, context: &RepositoryContext, asked: Duration) {
        if self.was_refused_since(context, asked) {
            return;
        }
        self.remember_as_of(context, Right::Read, asked);
        // One may have come in between.
        if self.was_refused_since(context, asked) {
            self.allowed.remove(&self.key(context, Right::Read));
        }
    }

    /// Whether the upstream refused the caller at that time or later.
    pub fn was_refused_since(&self, context: &RepositoryContext, time: Duration) -> bool {
        let refused = self.refused.0.get(&self.refusal_key(context));
        refused.is_some_and(|refused| refused >= time)
    }

    pub(super) fn note_refusal(&self, context: &RepositoryContext) {
        self.refused.0.insert(self.refusal_key(context), self.clock.now());
    }

    fn refusal_key(&self, context: &RepositoryContext) -> (RepositoryKey, CredentialHash) {
        (context.repository_key.clone(), context.caller.credential_hash())
    }
}
