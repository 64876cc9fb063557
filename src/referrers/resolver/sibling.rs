//! What refers to a subject from the sibling of its repository (`links.repository`), where refshim keeps what is pushed through it.
//!
//! Each repository is searched, remembered and invalidated by itself; both lists are put together for each answer. A none is one of both: the
//! sibling's own failure, or a refusal to read it, is an error. Its absence is believed where the registry states it.

use std::sync::Arc;

use http::StatusCode;

use super::adopted::both;
use super::lookup::{KnownReferrers, from_scan};
use super::{Lookup, Resolver};
use crate::cache::Key;
use crate::oci::{Code, Digest, OciError, ReferrerList, RepositoryName};
use crate::referrers::access::{RepositoryAccess, probable};
use crate::referrers::context::RepositoryContext;
use crate::referrers::counts::AnsweredFrom;
use crate::referrers::error::ResolveError;
use crate::referrers::marker::ToldNothing;
use crate::registry::{Answer, Caller, Native, Refusal, Sibling, UpstreamError};

/// With whose rights the sibling of a repository is asked for a caller.
pub(super) enum SiblingAccess {
    /// Those of refshim's account, as the caller may read the repository, or the caller's own where there is no account.
    Granted(Sibling),
    /// The caller's own, as nothing in the repository proves that it may read that: what it is refused there, it is not told of.
    OwnRights(Sibling),
    /// Nothing proves it, and the sibling is in another registry, where the caller's credentials do not go.
    Withheld(Sibling),
}

impl Resolver {
    /// With whose rights the sibling of `repository` is asked for `caller`. The registry proves that the caller may read the repository by `subject`,
    /// or by what else is in it.
    pub(super) async fn sibling_access(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
        subject: Option<&Digest>,
    ) -> Result<Option<SiblingAccess>, ResolveError> {
        let Some(sibling) = self.inner.upstream.sibling(repository, caller)? else {
            return Ok(None);
        };
        let context = self.outside(repository, caller);
        if !sibling.is_of_account() || self.inner.access.is_allowed(&context) {
            return Ok(Some(SiblingAccess::Granted(sibling)));
        }
        let context = self.context(repository, caller).await;
        let listed = self.inner.stores.listings.remembered(&context).await;
        let names = listed.map(|listed| listed.value.names().clone());
        let probable = probable(subject, names.as_deref());
        let access = match self.inner.access.check(&self.inner.upstream, &context, probable).await {
            Ok(RepositoryAccess::Allowed) => SiblingAccess::Granted(sibling),
            Ok(RepositoryAccess::Empty | RepositoryAccess::Unseen) => match sibling.elsewhere {
                Some(_) => SiblingAccess::Withheld(sibling),
                None => SiblingAccess::OwnRights(Sibling {
                    caller: caller.clone(),
                    ..sibling
                }),
            },
            Ok(RepositoryAccess::Refused(refusal)) => return Err(refusal.into()),
            Err(error) if error.is_outage() && self.may_be_given_stale(&context) => SiblingAccess::Granted(sibling),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(access))
    }

    /// What refers to `subject` in the repository and in its sibling.
    pub(super) async fn find_in_both(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        caller: &Caller,
    ) -> Result<Lookup, ResolveError> {
        let own = self.find(repository, subject, caller).await?;
        if self.inner.upstream.siblings().is_none() {
            return Ok(own);
        }
        Box::pin(async {
            let (sibling, is_unproven) = match self.sibling_access(repository, caller, Some(subject)).await? {
                None => return Ok(own),
                Some(SiblingAccess::Granted(sibling)) => (sibling, false),
                Some(SiblingAccess::OwnRights(sibling)) => (sibling, true),
                Some(SiblingAccess::Withheld(sibling)) => return Err(withheld(repository, &sibling)),
            };
            match self
                .of_sibling(repository, caller)
                .find_in_sibling(&sibling, subject)
                .await
            {
                Ok(kept) => Ok(both(own, kept)),
                Err(ResolveError::Refused(_)) if is_unproven => Ok(own),
                Err(error) => Err(account_refused(&sibling, error)),
            }
        })
        .await
    }

    async fn find_in_sibling(&self, sibling: &Sibling, subject: &Digest) -> Result<Lookup, ResolveError> {
        if self.is_sibling_absent(sibling, subject).await? {
            let none = ReferrerList::new(subject.clone(), Vec::new());
            return Ok(from_scan(Arc::new(none)));
        }
        let found = self.find(&sibling.repository, subject, &sibling.caller).await?;
        if found.from == AnsweredFrom::Scan {
            self.remember_listed(sibling, &found.links).await;
        }
        Ok(found)
    }

    /// What is remembered of what the sibling keeps. Nobody is asked.
    pub(super) async fn known_in_sibling(&self, sibling: &Sibling, subject: &Digest) -> Option<KnownReferrers> {
        let context = self.context(&sibling.repository, &sibling.caller).await;
        match self.is_known_absent(&context, subject).await {
            true => Some(KnownReferrers {
                lists: Vec::new(),
                is_all: true,
            }),
            false => self.known_in(&context, subject).await,
        }
    }

    /// Whether the registry stated lately that there is no such sibling.
    async fn is_known_absent(&self, context: &RepositoryContext, subject: &Digest) -> bool {
        let known = self.inner.cache.get::<ToldNothing>(&absence(context, subject)).await;
        known.is_some_and(|known| known.within(self.inner.freshness.fresh_for))
    }

    /// Whether the registry states that there is no such sibling: nothing was written through refshim before the first push, and most repositories
    /// have nothing that refers to anything. By two requests, about each subject, until something is written or `fresh_for` has passed. What is
    /// known to be there is not asked about.
    async fn is_sibling_absent(&self, sibling: &Sibling, subject: &Digest) -> Result<bool, ResolveError> {
        let context = self.context(&sibling.repository, &sibling.caller).await;
        let stores = &self.inner.stores;
        let is_known = self.inner.access.is_allowed(&context)
            || stores.tags.was_listed(&context.repository_key)
            || stores.listings.remembered(&context).await.is_some();
        if is_known {
            return Ok(false);
        }
        if self.is_known_absent(&context, subject).await {
            return Ok(true);
        }
        let caller = context.caller.searching();
        match self.inner.upstream.some_tags(&context.repository, &caller).await? {
            Answer::Found(_) => return Ok(false),
            Answer::Refused(refusal) => return Err(refusal.into()),
            Answer::Absent => {}
        }
        let written = stores
            .tags
            .written
            .all(&self.inner.cache, &context.repository_key)
            .await;
        if !written.is_empty() || self.lists_natively(&context, subject).await? {
            return Ok(false);
        }
        let key = absence(&context, subject);
        self.inner.cache.put(key, Arc::new(ToldNothing)).await;
        Ok(true)
    }

    /// Whether the registry's own API knows of something there: registries say that a repository is not there which has no tag.
    async fn lists_natively(&self, context: &RepositoryContext, subject: &Digest) -> Result<bool, ResolveError> {
        let (upstream, repository) = (&self.inner.upstream, &context.repository);
        if upstream.native().support(repository, &context.caller).is_missing() {
            return Ok(false);
        }
        let caller = context.caller.searching();
        match upstream.native_referrers(repository, subject, &caller).await? {
            Native::Entries(listed) => Ok(!listed.is_empty()),
            Native::Refused(refusal) => Err(refusal.into()),
            // After the registry stated that the repository is not there.
            Native::Nothing | Native::NoRoute(_) | Native::Barred(_) | Native::Silence(_) => Ok(false),
        }
    }
}

/// The refusal of refshim's own account is no answer to the caller, who could do nothing about it.
pub(super) fn account_refused(sibling: &Sibling, error: ResolveError) -> ResolveError {
    match error {
        ResolveError::Refused(refusal) if sibling.is_of_account() => unreadable(sibling, &refusal).into(),
        error => error,
    }
}

/// 403: a none might be wrong.
pub(super) fn withheld(repository: &RepositoryName, sibling: &Sibling) -> ResolveError {
    let message =
        format!("nothing in {repository} shows that these credentials may read it, and so what {sibling} keeps of it");
    let error = OciError::new(StatusCode::FORBIDDEN, Code::Denied, message);
    Refusal::of_refshim(&error).into()
}

/// Why nothing can be said of what a sibling keeps.
pub(super) fn unreadable(sibling: &Sibling, refusal: &Refusal) -> UpstreamError {
    let codes = refusal.error().map(|stated| format!(" {stated}")).unwrap_or_default();
    UpstreamError::Invalid(format!(
        "it refuses {sibling}, which keeps links, to the account of links.credentials (HTTP {}{codes})",
        refusal.status.as_u16()
    ))
}

/// That one credential was told, about this subject, that there is no such repository.
fn absence(context: &RepositoryContext, subject: &Digest) -> Key {
    let credential = u128::from_be_bytes(context.caller.credential_hash());
    let of = format!("{credential:032x} {subject}");
    Key::no_repository(&context.repository_key, &context.epoch, &of)
}
