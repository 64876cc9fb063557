//! What proves that a caller may read a repository: a manifest that the registry gives it.

use std::collections::HashSet;

use http::StatusCode;

use crate::oci::{Reference, Tag};
use crate::registry::{Answer, HeadOutcome, Refusal, Upstream, UpstreamError};

use super::access::RepositoryAccess;
use super::context::RepositoryContext;

/// Places of up to three of `count` names: the first, one in the middle, the last. Tags that dangle often stand together.
pub(super) fn spread(count: usize) -> impl Iterator<Item = usize> {
    let last = count.saturating_sub(1);
    let mut places = vec![0, last / 2, last];
    places.dedup();
    places.into_iter().take(count)
}

/// Asks for what probably exists, then for tags that the registry itself lists to this caller.
pub(super) async fn of_reading(
    upstream: &Upstream,
    context: &RepositoryContext,
    known: &[Reference],
) -> Result<RepositoryAccess, UpstreamError> {
    let mut unproven = Unproven::default();
    if let Some(access) = first_given(upstream, context, known, Word::Heads, &mut unproven).await? {
        return Ok(access);
    }
    let names = match upstream.some_tags(&context.repository, &context.caller).await? {
        Answer::Found(names) if names.is_empty() => {
            return unless_given(upstream, context, known, RepositoryAccess::Empty).await;
        }
        Answer::Found(names) => names,
        Answer::Absent => return unless_given(upstream, context, known, RepositoryAccess::Unseen).await,
        Answer::Refused(refusal) => return Ok(RepositoryAccess::Refused(refusal)),
    };
    let listed = spread(names.len()).filter_map(|at| Some(Reference::Tag(Tag::parse(&names[at]).ok()?)));
    let listed: Vec<Reference> = listed.collect();
    match first_given(upstream, context, &listed, Word::Gets, &mut unproven).await? {
        Some(access) => Ok(access),
        None => unproven.refused.map(RepositoryAccess::Refused).ok_or_else(|| {
            UpstreamError::Invalid(format!(
                "the registry lists tags of {} to this caller, but gives none of {} manifests that were asked for",
                context.repository,
                known.iter().chain(&listed).collect::<HashSet<_>>().len()
            ))
        }),
    }
}

/// `otherwise`, where the registry states of each of `known` that it is not there. Caches answer HEADs with 404 until somebody reads, and
/// with 500 while what they stand before is down: neither says that there is nothing.
async fn unless_given(
    upstream: &Upstream,
    context: &RepositoryContext,
    known: &[Reference],
    otherwise: RepositoryAccess,
) -> Result<RepositoryAccess, UpstreamError> {
    let mut unproven = Unproven::default();
    if let Some(access) = first_given(upstream, context, known, Word::Gets, &mut unproven).await? {
        return Ok(access);
    }
    match (unproven.failed, unproven.refused) {
        (Some(error), _) => Err(error),
        (None, Some(refusal)) => Ok(RepositoryAccess::Refused(refusal)),
        (None, None) => Ok(otherwise),
    }
}

/// What kept manifests from being given without saying that they are not there.
#[derive(Default)]
struct Unproven {
    /// A refusal that is about one manifest, such as a policy's against vulnerable images.
    refused: Option<Refusal>,
    /// A failure that may be about one manifest.
    failed: Option<UpstreamError>,
}

/// The first manifest that is given, or the registry's refusal; `None` where none of them was given. Why not, as far as it is about
/// one manifest, is put into `unproven`.
async fn first_given(
    upstream: &Upstream,
    context: &RepositoryContext,
    references: &[Reference],
    word: Word,
    unproven: &mut Unproven,
) -> Result<Option<RepositoryAccess>, UpstreamError> {
    for reference in references {
        match given(upstream, context, reference, word).await {
            Ok(Answer::Found(())) => return Ok(Some(RepositoryAccess::Allowed)),
            Ok(Answer::Refused(refusal)) if is_about_one_manifest(&refusal) => {
                unproven.refused.get_or_insert(refusal);
            }
            Ok(Answer::Refused(refusal)) => return Ok(Some(RepositoryAccess::Refused(refusal))),
            // Distribution 2.8 fails at the digest of what is in an envelope, and other bytes than its digest's prove nothing.
            Err(error @ (UpstreamError::Failed(StatusCode::INTERNAL_SERVER_ERROR) | UpstreamError::Content(_))) => {
                unproven.failed.get_or_insert(error);
            }
            Ok(Answer::Absent) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Which 404 is believed.
#[derive(Clone, Copy)]
enum Word {
    /// A HEAD's: another reference is asked for next, so nothing rests on it.
    Heads,
    /// A GET's, which states what is absent: of a tag that the registry just listed, a HEAD's alone contradicts that.
    Gets,
}

/// A HEAD; where that says neither yes nor no, a GET, whose refusal has a body to relay.
async fn given(
    upstream: &Upstream,
    context: &RepositoryContext,
    reference: &Reference,
    word: Word,
) -> Result<Answer<()>, UpstreamError> {
    let (repository, caller) = (&context.repository, &context.caller);
    match upstream.head_only(repository, reference, caller).await? {
        HeadOutcome::Found(_) => Ok(Answer::Found(())),
        HeadOutcome::NotFound if matches!(word, Word::Heads) => Ok(Answer::Absent),
        HeadOutcome::NotFound | HeadOutcome::Unclear => {
            let manifest = upstream.manifest(repository, reference, caller).await?;
            manifest.try_map(|_| Ok(()))
        }
    }
}

/// 412 (Harbor) and 451: the manifest is withheld from everybody, which says nothing of this caller.
fn is_about_one_manifest(refusal: &Refusal) -> bool {
    matches!(
        refusal.status,
        StatusCode::PRECONDITION_FAILED | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_three_names_are_tried() {
        let places = |count| spread(count).collect::<Vec<_>>();
        assert_eq!(places(0), [0; 0]);
        assert_eq!(places(1), [0]);
        assert_eq!(places(2), [0, 1]);
        assert_eq!(places(3), [0, 1, 2]);
        assert_eq!(places(9), [0, 4, 8]);
    }
}
