//! Whether a listing lacks tags that are there: a proxy cache lists only what it holds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::cache::Key;
use crate::config::ListingKind;
use crate::oci::{Reference, Tag, tag_scheme};
use crate::registry::{Answer, HeadOutcome, UpstreamError};

use super::error::ResolveError;
use super::given::DigestAnswer;
use super::marker::Marker;
use super::names::{ListingAnswer, ScannedNames, computed, is_there};
use super::scan::run::Scan;
use super::seen_tags::names_itself;

/// How long a repository is taken to list only a part of its tags, and how often a whole one is looked at again.
pub(super) const PARTIAL_FOR: Duration = Duration::from_secs(3600);
/// The computed tags by which a repository is tried.
const TRIED: usize = 2;

/// Whether tags may be there that the listing lacks, so that names are asked for one by one.
pub(super) async fn lacks_names(scan: &Scan, names: &ScannedNames) -> Result<bool, ResolveError> {
    match scan.tags.kind {
        ListingKind::Partial => return Ok(true),
        ListingKind::Complete => return Ok(false),
        ListingKind::Auto => {}
    }
    let (cache, context) = (&scan.manifests.cache, &scan.context);
    let marked = cache.get::<Marker>(&Key::partial(&context.repository_key)).await;
    if marked.is_some_and(|marked| marked.age < PARTIAL_FOR) {
        return Ok(true);
    }
    let lacks = what_is_lacking(scan, names).await?;
    // Of a repository that refshim just began, the listing may only lag: its names are asked for while they are not listed.
    let may_lag = names.lists_nothing() && !names.written.is_empty();
    if lacks == Lacks::Something && !may_lag {
        let (upstream, repository) = (scan.manifests.upstream.name(), &context.repository);
        tracing::info!(upstream, %repository, "the tag listing lacks tags that are there: names are asked for one by one");
        cache.put(Key::partial(&context.repository_key), Arc::new(Marker)).await;
    }
    Ok(lacks != Lacks::Nothing)
}

/// What a listing lacks of what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacks {
    Nothing,
    /// That cannot be told to this caller.
    Perhaps,
    Something,
}

async fn what_is_lacking(scan: &Scan, names: &ScannedNames) -> Result<Lacks, ResolveError> {
    if names.lists_nothing() {
        return lacking_of_none(scan).await;
    }
    if is_any_seen_unlisted(scan, names).await? || is_any_computed_unlisted(scan, names).await? {
        return Ok(Lacks::Something);
    }
    Ok(Lacks::Nothing)
}

/// The same of a listing without any name.
async fn lacking_of_none(scan: &Scan) -> Result<Lacks, ResolveError> {
    match scan.subject_answer().await? {
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
    let (seen, repository_key) = (&scan.tags.seen, &scan.context.repository_key);
    let mut lacking = seen.lacking(repository_key, &listing.names, names.began);
    lacking.retain(|tag| !names.written.contains(tag));
    let answers = ask_unlisted(scan, lacking, true).await?;
    for (tag, answer) in &answers {
        if *answer == DigestAnswer::Absent {
            seen.gone(repository_key, tag);
        }
    }
    Ok(is_any_of(&answers, &[DigestAnswer::Given, DigestAnswer::Blocked]))
}

/// Whether a computed tag is there that the listing lacks. Once one subject's were asked for, the repository counts as tried.
async fn is_any_computed_unlisted(scan: &Scan, names: &ScannedNames) -> Result<bool, UpstreamError> {
    let repository_key = &scan.context.repository_key;
    if scan.tags.was_tried(repository_key) {
        return Ok(false);
    }
    let subject = scan.subject_answer().await?;
    // A subject that a caller made up would show nothing.
    if subject == DigestAnswer::Absent {
        return Ok(false);
    }
    let answers = ask_unlisted(scan, computed(scan, names, TRIED), false).await?;
    let is_subject_there = matches!(subject, DigestAnswer::Given | DigestAnswer::Blocked);
    if is_subject_there && !is_any_of(&answers, &[DigestAnswer::Refused]) {
        scan.tags.tried.insert(repository_key.clone(), Instant::now());
    }
    Ok(is_any_of(&answers, &[DigestAnswer::Given, DigestAnswer::Blocked]))
}

/// What the registry answers by each of these tags, which its listing perhaps lacks. That a tag is the subject which it names
/// counts as absence. Nothing rests on a 404 to a HEAD here, so no GET has to confirm it.
async fn ask_unlisted(scan: &Scan, tags: Vec<Tag>, were_seen: bool) -> Result<Vec<(Tag, DigestAnswer)>, UpstreamError> {
    let asked = tags.into_iter().map(|tag| async move {
        let (upstream, context) = (&scan.manifests.upstream, &scan.context);
        let reference = Reference::Tag(tag.clone());
        let head = upstream.head_only(&context.repository, &reference, &context.caller);
        let answer = match head.await? {
            HeadOutcome::Found(head) => Answer::Found(head),
            HeadOutcome::NotFound if !were_seen => Answer::Absent,
            // The registry gave such a tag a while ago: that it is gone has to be stated.
            HeadOutcome::NotFound | HeadOutcome::Unclear => {
                let head = upstream.head_manifest(&context.repository, &reference, &context.caller);
                head.await?
            }
        };
        let answer = match answer {
            Answer::Found(head) if names_itself(&tag, &head.digest) => DigestAnswer::Absent,
            answer => DigestAnswer::of(&answer),
        };
        // Somebody else may be given it.
        if answer == DigestAnswer::Refused {
            scan.is_unsettled.store(true, Ordering::Relaxed);
        }
        Ok((tag, answer))
    });
    futures_util::future::try_join_all(asked).await
}

fn is_any_of(answers: &[(Tag, DigestAnswer)], sought: &[DigestAnswer]) -> bool {
    answers.iter().any(|(_, answer)| sought.contains(answer))
}
