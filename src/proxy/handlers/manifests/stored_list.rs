//! Referrers tags that the registry has: its own bytes where they list all that was found and nothing that is gone, else an index that does
//! (`merge_referrers_tag`). Clients that read only the tag, or read it to write it back with an entry more, would otherwise miss what is linked in
//! other forms, or fail over what was deleted.

use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::given::{HeldBody, hold};
use super::request::{ManifestRequest, instead_of};
use super::synthesised;
use crate::http::body::Body;
use crate::oci::media_type::OCI_IMAGE_INDEX;
use crate::oci::{Digest, Reference, ReferrerList, ReferrersTagIndex, SubjectKey};
use crate::proxy::error::ProxyError;
use crate::registry::{Answer, UpstreamError};

/// Entries of a stored list that are asked for, because nothing else was found of them.
const MOST_ASKED_FOR: usize = 50;

/// The subject whose list the answer must be, whatever the registry's is.
fn subject_of(asked: &ManifestRequest<'_>) -> Option<Digest> {
    let merges = asked.context.backend.shared.merge_referrers_tag && !synthesised::wants_stored(asked);
    synthesised::subject_of(asked.reference).filter(|_| merges)
}

/// The request as it goes to the registry, for the whole list: that its own is the same still says nothing of what else there is.
pub(super) fn unconditional(asked: &ManifestRequest<'_>, mut request: Parts) -> Parts {
    if subject_of(asked).is_some() {
        for condition in [IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE] {
            request.headers.remove(condition);
        }
    }
    request
}

/// The subject, where an answer of this media type is its list.
pub(super) fn subject_of_list(asked: &ManifestRequest<'_>, media_type: &str) -> Option<Digest> {
    subject_of(asked).filter(|_| media_type == OCI_IMAGE_INDEX)
}

/// The registry's 200 with the list of `subject`: as it is where it lists all that was found; else the whole list in its place. An error where
/// it cannot be told. `digest` is the answer's.
pub(super) async fn completed(
    asked: &ManifestRequest<'_>,
    response: Response<Body>,
    subject: &Digest,
    digest: Option<&Digest>,
) -> Result<GivenList, ProxyError> {
    let resolver = asked.resolver();
    let resolved = resolver.resolve(asked.repository, subject, &asked.caller);
    let resolved = Box::pin(resolved).await?;
    if resolved.links.referrers.is_empty() {
        return Ok(GivenList::Stored(response));
    }
    let held = match asked.context.head.method {
        Method::GET => hold(asked, response).await?,
        _ => {
            let reference = digest.map_or_else(|| asked.reference.clone(), |digest| Reference::Digest(digest.clone()));
            let stored = resolver.manifest(asked.repository, &reference, &asked.caller).await?;
            let Answer::Found(stored) = stored else {
                return Ok(GivenList::Stored(response));
            };
            HeldBody {
                head: response.into_parts().0,
                bytes: stored.bytes.clone(),
                reserved: None,
            }
        }
    };
    let stored = ReferrersTagIndex::of_tag(&SubjectKey::of(subject), OCI_IMAGE_INDEX, &held.bytes);
    let gone = match &stored {
        Some(stored) => gone(asked, stored, &resolved.links).await,
        None => Vec::new(),
    };
    Ok(match stored {
        Some(stored) if !gone.is_empty() || !lists_all(&stored, &resolved.links) => {
            let whole = synthesised::with_stored(asked, subject, &resolved, (&stored, &gone)).await;
            GivenList::Whole(instead_of(&held.head.headers, whole))
        }
        _ => GivenList::Stored(held.into_response(asked)?),
    })
}

/// Fails for what no registry answers to [`unconditional`] requests for a list: a part of it, or that it is the same. It might hide a referrer.
pub(super) fn check_answered(asked: &ManifestRequest<'_>, status: StatusCode) -> Result<(), ProxyError> {
    let is_odd = status == StatusCode::NOT_MODIFIED || status.is_success() && status != StatusCode::OK;
    match is_odd && subject_of(asked).is_some() {
        true => {
            let reason = format!("HTTP {} to a question for the whole list of referrers", status.as_u16());
            Err(UpstreamError::Invalid(reason).into())
        }
        false => Ok(()),
    }
}

/// A compressed list cannot be compared with what was found, so it is given to nobody whom it might hide a referrer from.
pub(super) fn check_comparable(asked: &ManifestRequest<'_>, media_type: &str) -> Result<(), ProxyError> {
    match subject_of_list(asked, media_type) {
        Some(_) => {
            let reason = "a list of referrers in a Content-Encoding, which was not asked for".to_owned();
            Err(UpstreamError::Invalid(reason).into())
        }
        None => Ok(()),
    }
}

/// What the registry lists and states that it does not have. Only what was not found is asked for: that is nothing, as a rule.
async fn gone(asked: &ManifestRequest<'_>, stored: &ReferrersTagIndex, found: &ReferrerList) -> Vec<Digest> {
    let is_found = |digest: &Digest| {
        found
            .referrers
            .iter()
            .any(|referrer| referrer.descriptor.digest == *digest)
    };
    let others: Vec<Digest> = stored
        .digests()
        .into_iter()
        .filter(|digest| !is_found(digest))
        .collect();
    let mut gone = Vec::new();
    for digest in others.into_iter().take(MOST_ASKED_FOR) {
        let reference = Reference::Digest(digest.clone());
        let answer = asked.resolver().manifest(asked.repository, &reference, &asked.caller);
        if matches!(answer.await, Ok(Answer::Absent)) {
            gone.push(digest);
        }
    }
    gone
}

/// What is given for a referrers tag that the registry has.
pub(super) enum GivenList {
    /// The registry's own answer.
    Stored(Response<Body>),
    /// All that was found, in its place.
    Whole(Response<Body>),
}

fn lists_all(stored: &ReferrersTagIndex, found: &ReferrerList) -> bool {
    found
        .referrers
        .iter()
        .all(|referrer| stored.holds(&referrer.descriptor.digest))
}
