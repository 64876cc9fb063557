//! What each credential was told about a subject: a list that others were told is also its own where it was told the same.

use std::sync::Arc;
use std::time::Duration;

use super::{AS_GOOD_AS_NOW, AccessGrant, AccessList};
use crate::cache::RepositoryKey;
use crate::oci::Digest;
use crate::referrers::basis::Basis;
use crate::referrers::context::RepositoryContext;
use crate::referrers::own_api;
use crate::registry::{CredentialHash, Fingerprint, Upstream, UpstreamError};

pub(super) type BasisKey = (RepositoryKey, CredentialHash, Digest);

/// What a credential was told last, and when.
#[derive(Clone, Copy)]
pub(super) struct LastBasis {
    basis: Basis,
    grant: AccessGrant,
}

impl AccessList {
    /// Remembers that the upstream just told this caller all that an answer about `subject` rests on. What it was told before counts
    /// no longer.
    pub fn remember_told(&self, context: &RepositoryContext, subject: &Digest, basis: Basis) {
        let grant = AccessGrant::of(context, self.clock.now());
        self.last_bases
            .insert(self.basis_key(context, subject), LastBasis { basis, grant });
    }

    /// Whether the upstream is known to have told this caller last all that an answer of this `age` rests on: within the time for
    /// which listings count, or since that answer was made.
    pub fn was_told(&self, context: &RepositoryContext, subject: &Digest, basis: &Basis, age: Duration) -> bool {
        let window = self.listed_for.max(age.saturating_add(AS_GOOD_AS_NOW));
        let last = self.last_bases.get(&self.basis_key(context, subject));
        last.is_some_and(|last| last.basis.is_same_as(basis) && self.holds(&last.grant, window))
    }

    /// Asks the registry's own API whether it lists to this caller about `subject` the digests on which `basis` rests, of which the
    /// names are known to be listed to it; a crowd of one caller's questions asks once.
    pub async fn check_own_api(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        context: &RepositoryContext,
        subject: &Digest,
        (basis, digests): (Basis, Fingerprint),
    ) -> Result<bool, UpstreamError> {
        let key = self.basis_key(context, subject);
        let (list, upstream, context, subject) = (self.clone(), upstream.clone(), context.clone(), subject.clone());
        let work = async move {
            // Whoever comes just after the last flight asks nothing.
            if list.was_told(&context, &subject, &basis, Duration::ZERO) {
                return Ok(true);
            }
            let is_same = own_api::lists_the_same(&upstream, &context, &subject, digests).await?;
            if is_same {
                list.remember_told(&context, &subject, basis);
            }
            Ok(is_same)
        };
        let checked = self.own_api_checks.run((key, digests), work).await;
        checked.value.unwrap_or(Err(UpstreamError::Timeout("referrers API")))
    }

    fn basis_key(&self, context: &RepositoryContext, subject: &Digest) -> BasisKey {
        (
            context.repository_key.clone(),
            context.caller.credential_hash(),
            subject.clone(),
        )
    }
}
