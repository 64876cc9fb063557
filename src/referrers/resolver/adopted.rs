//! Adopted forms for callers, each by its own digest: made of the original, on the registry's word about that, given to this caller.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Lookup, Resolver};
use crate::cache::Key;
use crate::config::WithoutSubject;
use crate::oci::{AdoptedOriginal, Digest, Referrer, ReferrerList, RepositoryName};
use crate::referrers::adopted_form::AdoptedForm;
use crate::referrers::context::RepositoryContext;
use crate::referrers::error::ResolveError;
use crate::referrers::remembered::{Known, ServedHeaders};
use crate::registry::{Answer, Caller, RawManifest, Stop, UpstreamError};

/// What is done for the digest of an adopted form that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownForm {
    /// Nothing: it is taken for no adopted form.
    Leave,
    /// All forms that can be found are made, and it is looked for among them.
    Search,
}

impl Resolver {
    /// The adopted form `digest`, where that is one and the registry gives this caller its original.
    pub async fn adopted(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
        asked: (UnknownForm, Recency),
    ) -> Result<Option<Arc<RawManifest>>, ResolveError> {
        let made = self.find_form(repository, digest, caller, asked).await?;
        Ok(made.map(|(_, made)| made))
    }

    /// What the adopted form `digest` is made of, where that is one.
    pub async fn adopted_original(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
        unknown: UnknownForm,
    ) -> Result<Option<AdoptedOriginal>, ResolveError> {
        let now = (unknown, Recency::Now);
        let made = self.find_form(repository, digest, caller, now).await?;
        Ok(made.map(|(form, _)| form.original.clone()))
    }

    /// The adopted form `digest` of which it is known how it is made.
    pub(super) async fn known_form(&self, context: &RepositoryContext, digest: &Digest) -> Option<Arc<AdoptedForm>> {
        if self.inner.stores.config.without_subject != WithoutSubject::Adopt || digest.is_zero() {
            return None;
        }
        let key = Key::adopted(&context.repository_key, digest);
        let known = self.inner.cache.get::<AdoptedForm>(&key).await?;
        Some(known.value)
    }

    /// The adopted form `digest`, and how it was made.
    async fn find_form(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
        (unknown, recency): (UnknownForm, Recency),
    ) -> Result<Option<(Arc<AdoptedForm>, Arc<RawManifest>)>, ResolveError> {
        let context = self.context(repository, caller).await;
        let known = self.make_known(&context, digest, recency).await?;
        let adopts = self.inner.stores.config.without_subject == WithoutSubject::Adopt;
        if known.is_some() || unknown == UnknownForm::Leave || !adopts || digest.is_zero() {
            return Ok(known);
        }
        match Box::pin(self.make_all(&context)).await {
            Ok(()) => {}
            Err(ResolveError::Upstream(under_way)) if under_way.is_under_way() => return Err(under_way.into()),
            // The registry's own word about this digest stands.
            Err(error) => tracing::debug!(%repository, %digest, %error, "not looked for among adopted forms"),
        }
        self.make_known(&context, digest, recency).await
    }

    async fn make_known(
        &self,
        context: &RepositoryContext,
        digest: &Digest,
        recency: Recency,
    ) -> Result<Option<(Arc<AdoptedForm>, Arc<RawManifest>)>, ResolveError> {
        let Some(form) = self.known_form(context, digest).await else {
            return Ok(None);
        };
        let made = self.make(context, digest, &form, recency).await?.or_refusal()?;
        Ok(made.map(|made| (form, made)))
    }

    /// Makes the form of its original, as the registry gives that to this caller. What does not have the digest is not believed.
    pub(super) async fn make(
        &self,
        context: &RepositoryContext,
        digest: &Digest,
        form: &AdoptedForm,
        recency: Recency,
    ) -> Result<Answer<Arc<RawManifest>>, UpstreamError> {
        let recheck = match recency {
            Recency::Fresh if self.inner.access.is_allowed(context) => self.inner.freshness.fresh_for,
            Recency::Fresh | Recency::Now => Duration::ZERO,
        };
        let manifests = &self.inner.stores.manifests;
        let original = manifests.still_there(context, &form.original.digest, recheck).await?;
        let made = original.found().and_then(|original| {
            let made = form.make(&original, digest);
            made.ok_or(Stop::Absent)
        });
        Answer::of(made)
    }

    /// What is remembered of an adopted form: what is remembered of its original. See [`Resolver::known_manifest`].
    pub(super) async fn known_adopted(
        &self,
        context: &RepositoryContext,
        digest: &Digest,
    ) -> Option<Known<Arc<RawManifest>>> {
        let form = self.known_form(context, digest).await?;
        let original = self.known_as_such(context, &form.original.digest).await?;
        Some(Known {
            content: form.make(&original.content, digest)?,
            // Its ETag and the like are the original's.
            headers: ServedHeaders::default(),
            is_kept_elsewhere: true,
            ..original
        })
    }

    /// What was found for `subject`, with what refers to the original where `subject` is an adopted form.
    pub(super) async fn with_originals(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        caller: &Caller,
        found: Lookup,
    ) -> Result<Lookup, ResolveError> {
        if self.inner.stores.config.without_subject != WithoutSubject::Adopt {
            return Ok(found);
        }
        let Some((resolver, context, form)) = self.form_in_both(repository, subject, caller).await? else {
            return Ok(found);
        };
        Box::pin(async {
            let made = resolver.make(&context, subject, &form, Recency::Fresh).await?;
            if made.or_refusal()?.is_none() {
                return Ok(found);
            }
            let originals = self.find_in_both(repository, &form.original.digest, caller).await?;
            Ok(both(found, originals))
        })
        .await
    }

    /// How the adopted form `digest` is made, of an original in the repository or in its sibling, and where that is, by whose resolver.
    async fn form_in_both(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<Option<(Self, RepositoryContext, Arc<AdoptedForm>)>, ResolveError> {
        let context = self.outside(repository, caller);
        if let Some(form) = self.known_form(&context, digest).await {
            return Ok(Some((self.clone(), self.context(repository, caller).await, form)));
        }
        let Some(sibling) = self.inner.upstream.sibling(repository, caller)? else {
            return Ok(None);
        };
        let of_sibling = self.of_sibling(repository, caller);
        let context = of_sibling.outside(&sibling.repository, &sibling.caller);
        let Some(form) = of_sibling.known_form(&context, digest).await else {
            return Ok(None);
        };
        let context = of_sibling.context(&sibling.repository, &sibling.caller).await;
        Ok(Some((of_sibling, context, form)))
    }
}

/// What the registry must have said lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recency {
    /// A moment ago, to a caller who may read.
    Fresh,
    /// Now.
    Now,
}

/// One list of both, as old as the older one.
pub(super) fn both(own: Lookup, originals: Lookup) -> Lookup {
    let older = match originals.is_stale() || own.age.is_none() {
        true => &originals,
        false => &own,
    };
    Lookup {
        links: merged(&own.links, &originals.links),
        from: older.from,
        age: own.age.max(originals.age),
    }
}

/// What is in either list; one of them as it is, printed or not, where the other adds nothing.
fn merged(own: &Arc<ReferrerList>, others: &Arc<ReferrerList>) -> Arc<ReferrerList> {
    let is_same_subject = own.subject == others.subject;
    if others.referrers.is_empty() {
        return own.clone();
    }
    if own.referrers.is_empty() && is_same_subject {
        return others.clone();
    }
    let known: BTreeSet<&Digest> = own.referrers.iter().map(|own| &own.descriptor.digest).collect();
    let added = others.referrers.iter();
    let added = added.filter(|other| !known.contains(&other.descriptor.digest));
    let mut referrers: Vec<Referrer> = own.referrers.iter().chain(added).cloned().collect();
    referrers.sort_unstable_by(Referrer::order);
    Arc::new(ReferrerList::new(own.subject.clone(), referrers))
}
