//! Whether a caller may read a repository: asked of the upstream with the caller's own credentials, remembered briefly.
//!
//! The proof of a right to read is a manifest that the registry gave this credential. A listing proves the right to list and
//! nothing more: registries grant the two apart. Only permission is remembered, never refusal. Credentials are remembered as a
//! salted hash that no other process can make.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Clock, Ends, RepositoryKey, SingleFlight};
use crate::expiring_map::ExpiringMap;
use crate::oci::{Digest, Reference, Tag};
use crate::registry::{CredentialHash, Fingerprint, Refusal, TagNames, Upstream, UpstreamError};

use super::context::RepositoryContext;
use super::proof;

mod hidden;
mod last_basis;
mod last_refusals;
mod listed;
mod token;

use hidden::HiddenRepositories;
use last_basis::{BasisKey, LastBasis};
use last_refusals::LastRefusals;
use token::token_end;

/// Pairs of repository and credential that are remembered.
const REMEMBERED: u64 = 100_000;
/// A permission this young is not written down again: busy callers are allowed again with every request.
const AS_GOOD_AS_NOW: Duration = Duration::from_secs(1);
/// How long asking for one caller's rights may take.
const PROBE_DEADLINE: Duration = Duration::from_secs(30);

type PermissionKey = (RepositoryKey, CredentialHash, Right);
type AccessResult = Result<RepositoryAccess, UpstreamError>;

/// What a credential may do in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Right {
    /// Manifests, and what is found in them.
    Read,
    List,
    Blobs,
    /// The registry lists it nothing beyond these names.
    Names(Fingerprint),
}

/// What the upstream says of a caller.
#[derive(Clone, Debug)]
pub(super) enum RepositoryAccess {
    Allowed,
    /// The registry lists the repository to this caller, with no tag in it, and gives no manifest that was asked for.
    Empty,
    /// To this caller the repository does not exist: no state of it may be shown.
    Unseen,
    Refused(Refusal),
}

/// What each credential is known to be given. Everything that is known of rights was put here by a method of this type: by
/// [`AccessList::check`], by the manifest store and the tag listings, whom the registry answers, and by the resolver with what a
/// scan returns.
pub(super) struct AccessList {
    allowed: ExpiringMap<PermissionKey, AccessGrant>,
    refused: LastRefusals,
    probes: SingleFlight<PermissionKey, AccessResult>,
    listing_checks: SingleFlight<PermissionKey, Result<bool, UpstreamError>>,
    /// What each credential was told last about a subject.
    last_bases: ExpiringMap<BasisKey, LastBasis>,
    own_api_checks: SingleFlight<(BasisKey, Fingerprint), Result<bool, UpstreamError>>,
    hidden: HiddenRepositories,
    clock: Clock,
    allowed_for: Duration,
    /// How long what was listed to a credential is taken for all that is.
    listed_for: Duration,
}

#[derive(Clone, Copy)]
struct AccessGrant {
    since: Duration,
    /// When the token itself ends, as time since 1970.
    ends: Option<Duration>,
}

impl AccessGrant {
    fn of(context: &RepositoryContext, since: Duration) -> Self {
        let ends = token_end(&context.caller);
        Self { since, ends }
    }
}

impl AccessList {
    pub fn new(allowed_for: Duration, fresh_for: Duration) -> Self {
        Self {
            allowed: ExpiringMap::new(REMEMBERED),
            refused: LastRefusals::default(),
            probes: SingleFlight::new(PROBE_DEADLINE),
            listing_checks: SingleFlight::new(PROBE_DEADLINE),
            last_bases: ExpiringMap::new(REMEMBERED),
            own_api_checks: SingleFlight::new(PROBE_DEADLINE),
            hidden: HiddenRepositories::default(),
            clock: Clock::default(),
            allowed_for,
            listed_for: allowed_for.max(fresh_for),
        }
    }

    /// Remembers that the upstream just gave this caller a manifest of the repository.
    pub fn allow(&self, context: &RepositoryContext) {
        self.remember(context, Right::Read);
    }

    /// Remembers that the upstream just listed the repository's tags to this caller.
    pub fn allow_listing(&self, context: &RepositoryContext) {
        self.remember(context, Right::List);
    }

    /// Remembers that the upstream just gave this caller a blob of the repository.
    pub fn allow_blobs(&self, context: &RepositoryContext) {
        self.remember(context, Right::Blobs);
    }

    /// Remembers that the upstream lists this caller nothing beyond these names.
    pub fn remember_listed(&self, context: &RepositoryContext, names: Fingerprint) {
        self.remember(context, Right::Names(names));
    }

    fn remember(&self, context: &RepositoryContext, right: Right) {
        self.remember_as_of(context, right, self.clock.now());
    }

    fn remember_as_of(&self, context: &RepositoryContext, right: Right, since: Duration) {
        let key = self.key(context, right);
        let known = self.allowed.get(&key);
        if known.is_some_and(|known| since.saturating_sub(known.since) < AS_GOOD_AS_NOW) {
            return;
        }
        self.allowed.insert(key, AccessGrant::of(context, since));
    }

    /// Forgets what was allowed: the upstream just refused.
    pub fn forget(&self, context: &RepositoryContext) {
        self.note_refusal(context);
        for right in [Right::Read, Right::List, Right::Blobs] {
            self.allowed.remove(&self.key(context, right));
        }
    }

    /// Whether the caller is known to be let read the repository.
    pub fn is_allowed(&self, context: &RepositoryContext) -> bool {
        self.was_allowed(context, Right::Read, self.allowed_for)
    }

    /// Whether the caller is known to be let list the repository's tags.
    pub fn may_list(&self, context: &RepositoryContext) -> bool {
        self.was_allowed(context, Right::List, self.allowed_for)
    }

    /// Whether the upstream gave the caller a manifest within `window`, however short rights are remembered.
    pub fn was_proven(&self, context: &RepositoryContext, window: Duration) -> bool {
        self.was_allowed(context, Right::Read, window + AS_GOOD_AS_NOW)
    }

    /// Whether the caller is known to be given blobs of the repository: some registries grant these apart from manifests.
    pub fn may_have_blobs(&self, context: &RepositoryContext) -> bool {
        self.was_allowed(context, Right::Blobs, self.allowed_for)
    }

    /// The same as [`Self::anyone_was_allowed`] of blobs.
    pub fn anyone_had_blobs(&self, context: &RepositoryContext, window: Duration) -> bool {
        context.caller.authorization().is_none() && self.was_allowed(context, Right::Blobs, window)
    }

    /// Whether the upstream is known to list this caller nothing beyond these names.
    pub fn was_listed(&self, context: &RepositoryContext, names: Fingerprint) -> bool {
        self.was_allowed(context, Right::Names(names), self.listed_for)
    }

    /// Whether a caller without credentials was allowed within `window`: during an outage, what anyone could read a while ago
    /// is no secret. Credentials get no such grace, they may have been revoked.
    pub fn anyone_was_allowed(&self, context: &RepositoryContext, window: Duration) -> bool {
        context.caller.authorization().is_none() && self.was_allowed(context, Right::Read, window)
    }

    fn was_allowed(&self, context: &RepositoryContext, right: Right, window: Duration) -> bool {
        let allowed = self.allowed.get(&self.key(context, right));
        allowed.is_some_and(|allowed| self.holds(&allowed, window))
    }

    fn holds(&self, grant: &AccessGrant, window: Duration) -> bool {
        let now = self.clock.now();
        now.saturating_sub(grant.since) < window && grant.ends.is_none_or(|ends| now < ends)
    }

    /// Asks the upstream, unless it was asked a moment ago. `known` are references that probably exist, most probable first.
    pub async fn check(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        context: &RepositoryContext,
        known: Vec<Reference>,
    ) -> AccessResult {
        if self.is_allowed(context) {
            return Ok(RepositoryAccess::Allowed);
        }
        let begin = || {
            upstream.reads().check_room(&context.repository, &context.caller)?;
            Ok::<_, UpstreamError>(self.clone().ask(upstream.clone(), context.clone(), known))
        };
        let landed = self
            .probes
            .try_run(self.key(context, Right::Read), Ends::WithLastWaiter, begin)
            .await?;
        landed.value.unwrap_or(Err(UpstreamError::Timeout("access check")))
    }

    /// Remembers before the flight ends, and looks once more when it begins: whoever comes in between asks nothing.
    async fn ask(
        self: Arc<Self>,
        upstream: Arc<Upstream>,
        context: RepositoryContext,
        known: Vec<Reference>,
    ) -> AccessResult {
        if self.is_allowed(&context) {
            return Ok(RepositoryAccess::Allowed);
        }
        let access = proof::of_reading(&upstream, &context, &known).await?;
        match access {
            RepositoryAccess::Allowed => self.allow(&context),
            // Nor is anything given to this caller during an outage any more.
            RepositoryAccess::Refused(_) | RepositoryAccess::Unseen => self.forget(&context),
            RepositoryAccess::Empty => {}
        }
        Ok(access)
    }

    fn key(&self, context: &RepositoryContext, right: Right) -> PermissionKey {
        (context.repository_key.clone(), context.caller.credential_hash(), right)
    }
}

/// The references to probe for a question about `subject`: itself, else up to three of the tags that a listing knows.
pub(super) fn probable(subject: Option<&Digest>, names: Option<&TagNames>) -> Vec<Reference> {
    // Clients ping with a digest of zeros, which never exists.
    let subject = subject.filter(|digest| digest.encoded().bytes().any(|b| b != b'0'));
    let tags = names
        .into_iter()
        .flat_map(|names| proof::spread(names.len()).map(|at| names.get(at)));
    let tags = tags.filter_map(|name| Tag::parse(name).ok()).map(Reference::Tag);
    subject
        .cloned()
        .map(Reference::Digest)
        .into_iter()
        .chain(tags)
        .collect()
}

#[cfg(test)]
mod tests;
