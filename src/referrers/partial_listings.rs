//! Whether a listing lacks tags that are there: a proxy cache lists only what it holds.

use std::sync::Arc;

use futures_util::future::try_join_all;
use http::StatusCode;

use crate::cache::Key;
use crate::config::ListingKind;
use crate::oci::{Digest, Reference, SubjectKey, Tag, tag_scheme};
use crate::registry::{Answer, HeadOutcome, UpstreamError};

use super::error::ResolveError;
use super::given::DigestAnswer;
use super::listing_trials::PARTIAL_FOR;
use super::marker::Marker;
use super::names::{ListingAnswer, ScannedNames, computed, is_there};
use super::scan::context::Scan;
use super::seen_tags::names_itself;

/// The computed tags by which a repository is tried.
const TRIED: usize = 2;
/// What says that a manifest is there.
const GIVEN: [DigestAnswer; 2] = [DigestAnswer::Given, DigestAnswer::Blocked];

/// Whether tags may be there that the listing lacks, so that names are asked for one by one.
pub(super) async fn lacks_names(scan: &Scan, names: &ScannedNames) -> Result<bool, ResolveError> {
    match scan.stores.tags.kind {
        ListingKind::Partial => return Ok(true),
        ListingKind::Complete => return Ok(false),
        ListingKind::Auto => {}
    }
    let (cache, context) = (&scan.stores.manifests.cache, &scan.context);
    let marked = cache.get::<Marker>(&Key::partial(&context.repository_key)).await;
    if marked.is_some_and(|marked| marked.age < PARTIAL_FOR) {
        return Ok(true);
    }
    let lacks = what_is_lacking(scan, names).await?;
    // Of a repository that refshim just began, the listing may only lag: its names are asked for while they are not listed.
    let may_lag = names.lists_nothing() && !names.written.is_empty();
    if lacks == Lacks::Something && !may_lag {
        let (upstream, repository) = (scan.stores.manifests.upstream.name(), &context.repository);
        tracing::info!(upstream, %repository, "the tag listing lacks tags that are there: names are asked for one by one");
        cache.put(Key::partial(&context.repository_key), Arc::new(Marker)).await;
    }
    Ok(lacks != Lacks::Nothing)
}

/// What a listing lacks of what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacks {
    Nothing,
    /// That cannot be told to this caller, or not before another listing.
    Perhaps,
    Something,
}

async fn what_is_lacking(scan: &Scan, names: &ScannedNames) -> Result<Lacks, ResolveError> {
    if names.lists_nothing() {
        return lacking_of_none(scan, names).await;
    }
    let lacks = match is_any_seen_unlisted(scan, names).await? {
        true => Lacks::Something,
        false => lacking_of_computed(scan, names).await?,
    };
    if lacks == Lacks::Something {
        scan.stores.tags.trials.found_unlisted();
    }
    Ok(lacks)
}

/// The same of a listing without any name.
async fn lacking_of_none(scan: &Scan, names: &ScannedNames) -> Result<Lacks, ResolveError> {
    let was_listed = scan.stores.tags.was_listed(&scan.context.repository_key);
    match scan.subject_answer().await? {
        // Tags that cannot be computed would be missing from the list.
        DigestAnswer::Given | DigestAnswer::Blocked
            if was_listed && matches!(names.listed, ListingAnswer::NoRepository) =>
        {
            Err(UpstreamError::Invalid(format!(
                "the registry says that it knows no repository {}, of which it listed tags before and still gives manifests",
                scan.context.repository
            ))
            .into())
        }
        DigestAnswer::Given | DigestAnswer::Blocked => Ok(Lacks::Something),
        DigestAnswer::Absent => Ok(Lacks::Nothing),
        DigestAnswer::Refused => Ok(Lacks::Perhaps),
        DigestAnswer::Failed => {
            if let Some(tag) = tag_scheme::envelope_tag(&scan.subject)
                && is_there(scan, &tag).await?
            {
                return Ok(Lacks::Something);
            }
            Err(UpstreamError::Failed(StatusCode::INTERNAL_SERVER_ERROR).into())
        }
    }
}

/// Whether a tag is there that was seen before the listing, which lacks it.
async fn is_any_seen_unlisted(scan: &Scan, names: &ScannedNames) -> Result<bool, UpstreamError> {
    let ListingAnswer::All(listing) = &names.listed else {
        return Ok(false);
    };
    let (seen, repository_key) = (&scan.stores.tags.seen, &scan.context.repository_key);
    let mut lacking = seen.lacking(repository_key, &listing.names, names.began);
    lacking.retain(|tag| !names.written.contains(tag));
    let asked = lacking.into_iter().map(|tag| ask_seen(scan, tag));
    let answers = try_join_all(asked).await?;
    // What is not there to one who may not read is there to others.
    if scan.stores.manifests.access.is_allowed(&scan.context) {
        for (tag, _) in answers.iter().filter(|(_, answer)| *answer == DigestAnswer::Absent) {
            seen.gone(repository_key, tag);
        }
    }
    Ok(is_any_of(&answers, &GIVEN))
}

/// Whether computed tags of the subject are there that the listing lacks, unless enough was tried lately.
async fn lacking_of_computed(scan: &Scan, names: &ScannedNames) -> Result<Lacks, UpstreamError> {
    let repository_key = &scan.context.repository_key;
    let key = SubjectKey::of(&scan.subject);
    let unlisted = computed(scan, names, TRIED);
    if unlisted.is_empty() || scan.stores.tags.trials.suffice(repository_key, &key) {
        return Ok(Lacks::Nothing);
    }
    let subject = scan.subject_answer().await?;
    // A subject that a caller made up would show nothing.
    if subject == DigestAnswer::Absent {
        return Ok(Lacks::Nothing);
    }
    let answers = try_join_all(unlisted.into_iter().map(|tag| ask_computed(scan, tag))).await?;
    if is_any_of(&answers, &GIVEN) {
        for (tag, _) in answers.iter().filter(|(_, answer)| GIVEN.contains(answer)) {
            scan.stores.tags.seen.note(repository_key, tag, None);
        }
        // It may be younger than a remembered listing: the next one tells.
        return Ok(match names.age().is_zero() {
            true => Lacks::Something,
            false => Lacks::Perhaps,
        });
    }
    if GIVEN.contains(&subject) && !is_any_of(&answers, &[DigestAnswer::Refused]) {
        scan.stores.tags.trials.found_nothing(repository_key, &key);
    }
    Ok(Lacks::Nothing)
}

/// The subject's tags that an earlier listing had and this one lacks, and that the registry still gives.
pub(super) async fn vanished_and_there(scan: &Scan, names: &ScannedNames) -> Result<Vec<Tag>, UpstreamError> {
    let ListingAnswer::All(listing) = &names.listed else {
        return Ok(Vec::new());
    };
    let (memory, repository_key) = (&scan.stores.listings.vanished, &scan.context.repository_key);
    let key = SubjectKey::of(&scan.subject);
    let credential = scan.context.caller.credential_hash();
    let mut vanished = memory.of(repository_key, &key, &listing.names, credential);
    vanished.retain(|(tag, ..)| !names.written.contains(tag));
    let asking = vanished.into_iter().map(|(tag, last)| async move {
        let was_listed =
            last.listed_to == Some(credential) || scan.stores.listings.was_listed(&scan.context, last.names);
        let (tag, answer) = ask_seen(scan, tag).await?;
        Ok::<_, UpstreamError>((tag, was_listed, answer))
    });
    let mut there = Vec::new();
    for (tag, was_listed, answer) in try_join_all(asking).await? {
        match answer {
            DigestAnswer::Given | DigestAnswer::Blocked | DigestAnswer::Failed => there.push(tag),
            DigestAnswer::Absent => memory.gone(repository_key, &key, &tag, credential),
            // As a link tag that is listed and refused.
            DigestAnswer::Refused if was_listed => return Err(UpstreamError::Invalid(refused(&tag))),
            // Some registries list to each credential only what it may see: it was another one's listing.
            DigestAnswer::Refused => {}
        }
    }
    Ok(there)
}

fn refused(tag: &Tag) -> String {
    format!("its tag listing lacks '{tag}', which it listed before to the same credential and refuses to it now")
}

/// What the registry answers by a tag that it gave a while ago: that it is gone has to be stated, which a HEAD's 404 does not.
async fn ask_seen(scan: &Scan, tag: Tag) -> Result<(Tag, DigestAnswer), UpstreamError> {
    let (upstream, context) = (&scan.stores.manifests.upstream, &scan.context);
    let reference = Reference::Tag(tag.clone());
    let head = upstream.head_manifest(&context.repository, &reference, &context.caller);
    let answer = head.await?.try_map(|head| Ok(head.digest))?;
    Ok(judged(scan, tag, &answer))
}

/// The same by a tag that is most probably not there, which a GET states in one request. Where pulls are counted a HEAD has to do.
async fn ask_computed(scan: &Scan, tag: Tag) -> Result<(Tag, DigestAnswer), UpstreamError> {
    let (upstream, context) = (&scan.stores.manifests.upstream, &scan.context);
    let reference = Reference::Tag(tag.clone());
    if upstream.counts_pulls() == Some(true) {
        let head = upstream.head_only(&context.repository, &reference, &context.caller);
        match head.await? {
            HeadOutcome::Found(head) => return Ok(judged(scan, tag, &Answer::Found(head.digest))),
            HeadOutcome::NotFound => return Ok((tag, DigestAnswer::Absent)),
            HeadOutcome::Unclear => {}
        }
    }
    let manifest = upstream.manifest(&context.repository, &reference, &context.caller);
    let answer = manifest.await?.try_map(|manifest| Ok(manifest.digest))?;
    Ok(judged(scan, tag, &answer))
}

/// That a tag is the subject which it names counts as absence.
fn judged(scan: &Scan, tag: Tag, answer: &Answer<Digest>) -> (Tag, DigestAnswer) {
    let answer = match answer {
        Answer::Found(digest) if names_itself(&tag, digest) => DigestAnswer::Absent,
        answer => DigestAnswer::of(answer),
    };
    // Somebody else may be given it.
    if answer == DigestAnswer::Refused {
        scan.unsettle();
    }
    (tag, answer)
}

fn is_any_of(answers: &[(Tag, DigestAnswer)], sought: &[DigestAnswer]) -> bool {
    answers.iter().any(|(_, answer)| sought.contains(answer))
}
