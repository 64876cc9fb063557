//! What the sibling of a repository keeps, for callers who ask for it in the repository itself: manifests that a link names, what such manifests
//! list, and nothing else that is in the sibling.
//!
//! A manifest that names a subject says so itself. Of everything else it is remembered that a link leads to it, from when it was listed, or a
//! manifest that lists it was given; and where nobody here was told, the sibling's link tags are followed, once per listing.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::sibling::{SiblingAccess, account_refused, unreadable, withheld};
use super::{Recency, Resolver, UnknownForm};
use crate::cache::Key;
use crate::oci::{Digest, LinkTagKind, Manifest, Reference, ReferrerList, RepositoryName, Tag, tag_scheme};
use crate::referrers::context::RepositoryContext;
use crate::referrers::error::ResolveError;
use crate::referrers::marker::{Marker, ToldNothing};
use crate::referrers::scan::PARALLEL;
use crate::referrers::tag_reads::Recheck;
use crate::registry::{Answer, Caller, RawManifest, Sibling, UpstreamError};

/// Link tags of one sibling that are followed for what nobody here was told of.
const MOST_TAGS: usize = 1000;

impl Resolver {
    /// The manifest that `reference` names in the sibling of `repository`, where a link leads to it: by its digest, or by a link tag. For callers
    /// who may read the repository.
    pub async fn linked_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: &Caller,
        (unknown, recency): (UnknownForm, Recency),
    ) -> Result<Option<Arc<RawManifest>>, ResolveError> {
        if self.inner.upstream.siblings().is_none() {
            return Ok(None);
        }
        let subject = match reference {
            Reference::Digest(digest) => self.remembered_subject(repository, digest, caller).await?,
            Reference::Tag(tag) => match tag_scheme::parse(tag.as_str()) {
                Some(link) => link.subject.digest(),
                None => return Ok(None),
            },
        };
        let (sibling, is_unproven) = match (
            self.sibling_access(repository, caller, subject.as_ref()).await?,
            reference,
        ) {
            (None, _) => return Ok(None),
            (Some(SiblingAccess::Granted(sibling)), _) => (sibling, false),
            (Some(SiblingAccess::OwnRights(sibling)), _) => (sibling, true),
            // Clients take a link tag that is not there for no links.
            (Some(SiblingAccess::Withheld(sibling)), Reference::Tag(_)) if unknown == UnknownForm::Search => {
                return Err(withheld(repository, &sibling));
            }
            (Some(SiblingAccess::Withheld(_)), _) => return Ok(None),
        };
        let of_sibling = self.of_sibling(repository, caller);
        let found = match reference {
            Reference::Tag(_) => of_sibling.kept_manifest(&sibling, reference, recency).await,
            Reference::Digest(digest) => of_sibling.kept_by_digest(&sibling, digest, (unknown, recency)).await,
        };
        match found {
            Ok(Some(raw)) => {
                of_sibling.remember_linked(&sibling, &raw).await;
                Ok(Some(raw))
            }
            Err(ResolveError::Refused(_)) if is_unproven => Ok(None),
            Ok(None) => Ok(None),
            Err(error) => Err(account_refused(&sibling, error)),
        }
    }

    /// The sibling of `repository` where the blob `digest` is to be had there: a manifest lists it to which a link leads. For callers who may read
    /// the repository.
    pub async fn linked_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
        unknown: UnknownForm,
    ) -> Result<Option<Sibling>, ResolveError> {
        let Some(asked) = self.inner.upstream.sibling(repository, caller)? else {
            return Ok(None);
        };
        let of_sibling = self.of_sibling(repository, caller);
        if unknown == UnknownForm::Leave && !of_sibling.is_linked(&asked, digest).await {
            return Ok(None);
        }
        let (sibling, is_unproven) = match self.sibling_access(repository, caller, None).await? {
            None | Some(SiblingAccess::Withheld(_)) => return Ok(None),
            Some(SiblingAccess::Granted(sibling)) => (sibling, false),
            Some(SiblingAccess::OwnRights(sibling)) => (sibling, true),
        };
        let is_led_to = match of_sibling.leads_to(&sibling, digest, unknown).await {
            Err(ResolveError::Refused(_)) if is_unproven => false,
            led => led.map_err(|error| account_refused(&sibling, error))?,
        };
        Ok(is_led_to.then_some(sibling))
    }

    /// Whether a link is known to lead to this manifest or blob of the sibling of `repository`. Nobody is asked.
    pub async fn is_known_linked(&self, repository: &RepositoryName, digest: &Digest, caller: &Caller) -> bool {
        match self.inner.upstream.sibling(repository, caller) {
            Ok(Some(sibling)) => self.of_sibling(repository, caller).is_linked(&sibling, digest).await,
            Ok(None) | Err(_) => false,
        }
    }

    /// The sibling of `repository` took the manifest `own`, to which a link leads.
    pub async fn remember_kept(
        &self,
        repository: &RepositoryName,
        sibling: &Sibling,
        (own, manifest): (&Digest, &Manifest),
    ) {
        let of_sibling = self.of_sibling(repository, &sibling.caller);
        of_sibling.note_linked(&sibling.repository, own).await;
        of_sibling.note_parts(sibling, manifest).await;
    }

    async fn is_linked(&self, sibling: &Sibling, digest: &Digest) -> bool {
        let key = Key::linked(&self.repository_key(&sibling.repository), digest.as_str());
        let known = self.inner.cache.get::<Marker>(&key).await;
        known.is_some_and(|known| known.within(self.inner.stores.config.deep_refresh))
    }

    /// The subject of a manifest that the sibling gave before: whoever is given that may read the repository. Nobody is asked.
    async fn remembered_subject(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<Option<Digest>, UpstreamError> {
        let Some(sibling) = self.inner.upstream.sibling(repository, caller)? else {
            return Ok(None);
        };
        let of_sibling = self.of_sibling(repository, caller);
        let context = of_sibling.context(&sibling.repository, &sibling.caller).await;
        if let Some(form) = of_sibling.known_form(&context, digest).await {
            return Ok(Some(form.adoption.subject.digest.clone()));
        }
        let known = of_sibling.inner.stores.manifests.find(&context, digest).await;
        let manifest = known.and_then(|known| known.value.manifest.parse().ok());
        let subjects = manifest.map(|manifest| manifest.own_subjects()).unwrap_or_default();
        Ok(subjects.into_iter().next().map(|(subject, _)| subject))
    }

    /// Remembers of listed entries that links lead to them.
    pub(super) async fn remember_listed(&self, sibling: &Sibling, listed: &ReferrerList) {
        for entry in &listed.referrers {
            self.note_linked(&sibling.repository, &entry.descriptor.digest).await;
            self.note_linked(&sibling.repository, entry.stored_digest()).await;
        }
    }

    /// A manifest by its digest to which a link leads.
    async fn kept_by_digest(
        &self,
        sibling: &Sibling,
        digest: &Digest,
        (unknown, recency): (UnknownForm, Recency),
    ) -> Result<Option<Arc<RawManifest>>, ResolveError> {
        let reference = Reference::Digest(digest.clone());
        let mut found = self.kept_manifest(sibling, &reference, recency).await?;
        if found.is_none() {
            let (repository, caller) = (&sibling.repository, &sibling.caller);
            found = self.adopted(repository, digest, caller, (unknown, recency)).await?;
        }
        let Some(raw) = found else { return Ok(None) };
        let names_subject = raw
            .parse_of_any_kind()
            .is_ok_and(|manifest| !manifest.own_subjects().is_empty());
        let is_led_to = names_subject || self.leads_to(sibling, digest, unknown).await?;
        Ok(is_led_to.then_some(raw))
    }

    async fn kept_manifest(
        &self,
        sibling: &Sibling,
        reference: &Reference,
        recency: Recency,
    ) -> Result<Option<Arc<RawManifest>>, ResolveError> {
        let (repository, caller) = (&sibling.repository, &sibling.caller);
        if let (Recency::Now, Reference::Digest(digest)) = (recency, reference) {
            let context = self.context(repository, caller).await;
            let manifests = &self.inner.stores.manifests;
            let asked = manifests
                .still_there(&context, digest, std::time::Duration::ZERO)
                .await?;
            return Ok(asked.or_refusal()?);
        }
        Ok(self.manifest(repository, reference, caller).await?.or_refusal()?)
    }

    async fn leads_to(&self, sibling: &Sibling, digest: &Digest, unknown: UnknownForm) -> Result<bool, ResolveError> {
        if self.is_linked(sibling, digest).await {
            return Ok(true);
        }
        if unknown == UnknownForm::Leave {
            return Ok(false);
        }
        self.follow_link_tags(sibling).await?;
        Ok(self.is_linked(sibling, digest).await)
    }

    /// Follows the link tags of a sibling, unless that was done since they were listed.
    async fn follow_link_tags(&self, sibling: &Sibling) -> Result<(), ResolveError> {
        let context = self.context(&sibling.repository, &sibling.caller).await.searching();
        let fresh_for = self.inner.freshness.fresh_for;
        let listing = match self.inner.stores.listings.all(&context, fresh_for).await? {
            Answer::Found(listing) => listing,
            Answer::Absent => return Ok(()),
            Answer::Refused(refusal) if sibling.is_of_account() => return Err(unreadable(sibling, &refusal).into()),
            Answer::Refused(refusal) => return Err(refusal.into()),
        };
        let whose = u128::from_be_bytes(context.caller.credential_hash());
        let listed = format!("{:032x} {whose:032x}", u128::from_be_bytes(listing.fingerprint));
        let key = Key::linked_all(&context.repository_key, &context.epoch, &listed);
        let followed = self.inner.cache.get::<ToldNothing>(&key).await;
        if followed.is_some_and(|followed| followed.within(fresh_for)) {
            return Ok(());
        }
        let tags: Vec<Tag> = listing
            .names
            .iter()
            .filter(|name| tag_scheme::parse(name).is_some())
            .filter_map(|name| Tag::parse(name).ok())
            .take(MOST_TAGS)
            .collect();
        stream::iter(tags)
            .map(|tag| self.follow_link_tag(sibling, &context, tag))
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        self.inner.cache.put(key, Arc::new(ToldNothing)).await;
        Ok(())
    }

    async fn follow_link_tag(
        &self,
        sibling: &Sibling,
        context: &RepositoryContext,
        tag: Tag,
    ) -> Result<(), ResolveError> {
        let kind = tag_scheme::parse(tag.as_str()).map(|link| link.kind);
        let recheck = match &kind {
            Some(LinkTagKind::ProposalD { hash, .. }) => Recheck::UnlessHash(hash),
            _ => Recheck::After(self.inner.freshness.fresh_for),
        };
        let manifests = &self.inner.stores.manifests;
        let read = manifests.by_tag(context, &tag, recheck).await;
        if let Some(raw) = manifests.unless_skipped(read, tag.as_str())? {
            self.note_linked(&sibling.repository, &raw.digest).await;
            self.remember_linked(sibling, &raw).await;
        }
        Ok(())
    }

    /// A link leads to this manifest, and so to what it lists.
    async fn remember_linked(&self, sibling: &Sibling, raw: &RawManifest) {
        if let Ok(manifest) = raw.parse_of_any_kind() {
            self.note_parts(sibling, &manifest).await;
        }
    }

    async fn note_parts(&self, sibling: &Sibling, manifest: &Manifest) {
        for part in manifest.parts() {
            self.note_linked(&sibling.repository, &part.digest).await;
        }
    }

    async fn note_linked(&self, repository: &RepositoryName, digest: &Digest) {
        let key = Key::linked(&self.repository_key(repository), digest.as_str());
        let known = self.inner.cache.get::<Marker>(&key).await;
        if !known.is_some_and(|known| known.within(self.inner.stores.config.deep_refresh / 2)) {
            self.inner.cache.put(key, Arc::new(Marker)).await;
        }
    }
}
