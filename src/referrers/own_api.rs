//! The registry's own referrers API as a source of a scan.
//!
//! What it lists is complete, or the scan fails. That there is no such API is proven, never guessed: by two answers of registries
//! that lack it, with a listing that succeeded between them, about a subject that the registry itself gave. What callers make up
//! (digests, names of repositories) switches nothing off: it gets an answer of its own and teaches nothing.

use std::sync::Arc;

use crate::cache::Key;
use crate::oci::tag_scheme::CosignKind;
use crate::oci::{Descriptor, Digest, LinkSource};
use crate::registry::{Fingerprint, Native, NativeAbsence, NativeSupport, Upstream, UpstreamError};

use super::basis::OwnApi;
use super::context::RepositoryContext;
use super::error::ResolveError;
use super::marker::Marker;
use super::scan::candidates::{CandidateContent, Candidates};
use super::scan::context::Scan;

/// What the API's answer is worth before the tag listing was asked.
pub(super) enum FirstAnswer {
    /// There is nothing to ask: it is switched off, or proven to be missing.
    NotAsked(OwnApi),
    /// It answered: its entries, or that it holds none.
    Complete(OwnApiAnswer),
    /// Perhaps there is no such API: [`settle`] decides once a listing has succeeded.
    Doubtful(Doubt),
}

/// What the API is taken to say in the end.
pub(super) struct OwnApiAnswer {
    pub found: Candidates,
    pub said: OwnApi,
}

impl OwnApiAnswer {
    /// Nothing was found, for this reason.
    pub fn none(said: OwnApi) -> Self {
        Self {
            found: Candidates::default(),
            said,
        }
    }
}

/// Why it is not known whether there is such an API.
pub(super) enum Doubt {
    /// It holds no such subject, said where it was never seen to answer: without the API, some registries say the same.
    Nothing,
    /// See [`Native::NoRoute`].
    NoRoute,
    /// See [`Native::Barred`].
    Barred,
    /// See [`Native::Silence`], of an API that has answered in this repository: believed where there is no such repository.
    Silence(String),
}

/// What is known of the API in this repository, by this process or by one that shares its cache. Missing, where it is switched off.
pub(super) async fn support(scan: &Scan) -> NativeSupport {
    let (upstream, context) = (&scan.stores.manifests.upstream, &scan.context);
    if !scan.reads(LinkSource::Native) {
        return NativeSupport::Missing;
    }
    let known = upstream.native().support(&context.repository, &context.caller);
    if known == NativeSupport::Answers {
        return known;
    }
    let key = Key::native_api(&context.repository_key);
    if scan.stores.manifests.cache.get::<Marker>(&key).await.is_none() {
        return known;
    }
    upstream.native().answered(&context.repository);
    NativeSupport::Answers
}

/// Asks, unless it is known that there is nobody to ask.
pub(super) async fn ask(scan: &Scan, known: NativeSupport) -> Result<FirstAnswer, ResolveError> {
    if !scan.reads(LinkSource::Native) {
        return Ok(FirstAnswer::NotAsked(OwnApi::NotRead));
    }
    if known.is_missing() {
        return Ok(FirstAnswer::NotAsked(OwnApi::Missing));
    }
    Ok(match (question(scan).await?, known) {
        (Native::Entries(listed), _) => FirstAnswer::Complete(answered(scan, listed).await),
        (Native::Refused(refusal), _) => return Err(refusal.into()),
        (Native::Nothing, NativeSupport::Answers) => FirstAnswer::Complete(OwnApiAnswer::none(OwnApi::listed(&[]))),
        (Native::NoRoute(seen) | Native::Barred(seen), NativeSupport::Answers) => {
            return Err(UpstreamError::ReferrersApiGone(seen).into());
        }
        (Native::Silence(seen), NativeSupport::Answers) => FirstAnswer::Doubtful(Doubt::Silence(seen)),
        (Native::Nothing | Native::Silence(_), _) => FirstAnswer::Doubtful(Doubt::Nothing),
        (Native::NoRoute(_), _) => FirstAnswer::Doubtful(Doubt::NoRoute),
        (Native::Barred(_), _) => FirstAnswer::Doubtful(Doubt::Barred),
    })
}

/// Decides a doubt, after a listing that was asked for later than the API has succeeded. Costs a HEAD of the subject and a second
/// question, once per repository and ten minutes; the HEAD alone where several repositories lack it. `is_absent`: the listing says
/// that there is no such repository.
pub(super) async fn settle(scan: &Scan, doubt: Doubt, is_absent: bool) -> Result<OwnApiAnswer, ResolveError> {
    if let Doubt::Silence(seen) = doubt {
        return nothing_if_absent(seen, is_absent);
    }
    let (upstream, repository) = (&scan.stores.manifests.upstream, &scan.context.repository);
    let _proof = upstream.native().proof(repository).await;
    let known = support(scan).await;
    if known == NativeSupport::Answers || known.is_missing() {
        // Another question proved it meanwhile.
        return match ask(scan, known).await? {
            FirstAnswer::Complete(answer) => Ok(answer),
            FirstAnswer::Doubtful(Doubt::Silence(seen)) => nothing_if_absent(seen, is_absent),
            FirstAnswer::NotAsked(said) => Ok(OwnApiAnswer::none(said)),
            FirstAnswer::Doubtful(_) => Ok(OwnApiAnswer::none(OwnApi::Missing)),
        };
    }
    let may_be_of_base = !matches!(doubt, Doubt::Nothing);
    let is_given = scan.subject_is_given().await? || may_be_of_base && scan.subject_of_base().await?.is_some();
    if !is_given && matches!(doubt, Doubt::Nothing) {
        return Ok(OwnApiAnswer::none(OwnApi::Missing));
    }
    let mut absence = match doubt {
        Doubt::Barred => NativeAbsence::Barred,
        Doubt::NoRoute => NativeAbsence::NoRoute,
        Doubt::Nothing | Doubt::Silence(_) => NativeAbsence::NothingOf(&scan.subject),
    };
    if known == NativeSupport::Unknown {
        match question(scan).await? {
            Native::Entries(listed) => return Ok(answered(scan, listed).await),
            Native::Refused(refusal) => return Err(refusal.into()),
            // What proves less of the two counts.
            Native::Nothing | Native::Silence(_) => absence = NativeAbsence::NothingOf(&scan.subject),
            Native::Barred(_) => absence = NativeAbsence::Barred,
            Native::NoRoute(_) => {}
        }
    }
    if is_given {
        tracing::debug!(upstream = upstream.name(), %repository, ?absence, "no referrers API was found here");
        upstream.native().missing(repository, &scan.context.caller, absence);
    }
    Ok(OwnApiAnswer::none(OwnApi::Missing))
}

/// Whether the API lists to this caller about `subject` what it listed to another, by one question.
pub(super) async fn lists_the_same(
    upstream: &Upstream,
    context: &RepositoryContext,
    subject: &Digest,
    digests: Fingerprint,
) -> Result<bool, UpstreamError> {
    let asked = upstream.native_referrers(&context.repository, subject, &context.caller);
    let said = match asked.await? {
        Native::Entries(listed) => OwnApi::listed(&listed),
        Native::Nothing => OwnApi::listed(&[]),
        Native::Refused(_) | Native::NoRoute(_) | Native::Barred(_) | Native::Silence(_) => return Ok(false),
    };
    Ok(said == OwnApi::Listed(digests))
}

fn nothing_if_absent(seen: String, is_absent: bool) -> Result<OwnApiAnswer, ResolveError> {
    match is_absent {
        true => Ok(OwnApiAnswer::none(OwnApi::listed(&[]))),
        false => Err(UpstreamError::ReferrersApiGone(seen).into()),
    }
}

async fn question(scan: &Scan) -> Result<Native, UpstreamError> {
    let (upstream, context) = (&scan.stores.manifests.upstream, &scan.context);
    upstream
        .native_referrers(&context.repository, &scan.subject, &context.caller)
        .await
}

/// Remembers that the API answers here. From now on its silence is a failure.
async fn answered(scan: &Scan, listed: Vec<Descriptor>) -> OwnApiAnswer {
    let (upstream, context) = (&scan.stores.manifests.upstream, &scan.context);
    let said = OwnApi::listed(&listed);
    if upstream.native().support(&context.repository, &context.caller) != NativeSupport::Answers {
        upstream.native().answered(&context.repository);
        let key = Key::native_api(&context.repository_key);
        scan.stores.manifests.cache.put(key, Arc::new(Marker)).await;
    }
    let mut found = Candidates::default();
    for descriptor in listed {
        let kind = descriptor.artifact_type.as_deref();
        let kind = kind.and_then(CosignKind::of_artifact_type);
        // Its annotations and artifact type are pulled up from the manifest itself, where that can be checked.
        let named = match descriptor.digest.is_computable() {
            true => Descriptor::new(descriptor.media_type, descriptor.digest, descriptor.size),
            false => descriptor,
        };
        found.add(CandidateContent::Named(named), LinkSource::Native, kind);
    }
    OwnApiAnswer { found, said }
}
