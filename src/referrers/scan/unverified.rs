//! Referrers whose digest cannot be computed here: nothing that the registry gives can be checked against it. They are listed
//! as the registry describes them and never cached; leaving them out would hide them, failing would let whoever pushes one
//! block an image.

use http::StatusCode;

use crate::oci::{Descriptor, Reference, Referrer, timestamp};
use crate::registry::{Answer, Refusal, UpstreamError};

use super::candidates::Candidate;
use super::context::Scan;
use crate::referrers::error::ResolveError;

/// What became of a referrer that nobody here can check.
pub(in crate::referrers) enum UnverifiedEntry {
    Listed(Box<Referrer>),
    /// The registry states that it does not hold it.
    Absent,
    /// The registry states that it knows no such digest, so that it cannot hold it.
    Unsupported,
}

/// The entry of what `descriptor` names, unless the registry states that it does not hold it.
pub(in crate::referrers) async fn entry(
    scan: &Scan,
    candidate: &Candidate,
    descriptor: &Descriptor,
) -> Result<UnverifiedEntry, ResolveError> {
    let (upstream, context) = (&scan.stores.manifests.upstream, &scan.context);
    let reference = Reference::Digest(descriptor.digest.clone());
    let head = upstream
        .head_manifest(&context.repository, &reference, &context.caller)
        .await;
    let listed = match head {
        Ok(Answer::Found(head)) => Descriptor {
            media_type: match head.media_type.is_empty() {
                true => descriptor.media_type.clone(),
                false => head.media_type,
            },
            size: head.size.unwrap_or(descriptor.size),
            data: None,
            reference: None,
            ..descriptor.clone()
        },
        Ok(Answer::Absent) if is_absent(scan, &reference).await? => return Ok(UnverifiedEntry::Absent),
        Ok(Answer::Refused(refusal)) if refusal.status == StatusCode::BAD_REQUEST && is_unsupported(&refusal) => {
            tracing::warn!(digest = %descriptor.digest, "the registry knows no such digest algorithm; skipped");
            scan.stores.manifests.counts.skipped_manifests.inc();
            return Ok(UnverifiedEntry::Unsupported);
        }
        Ok(Answer::Refused(refusal)) if refusal.status != StatusCode::BAD_REQUEST => return Err(refusal.into()),
        // A GET found what a HEAD did not, or says no more than that such a digest is not understood: Distribution 2.8 fails (500).
        Ok(Answer::Absent | Answer::Refused(_))
        | Err(UpstreamError::Failed(StatusCode::INTERNAL_SERVER_ERROR) | UpstreamError::Content(_)) => Descriptor {
            data: None,
            reference: None,
            ..descriptor.clone()
        },
        Err(error) => return Err(error.into()),
    };
    Ok(UnverifiedEntry::Listed(Box::new(Referrer {
        created: timestamp::created(&listed.annotations),
        descriptor: listed,
        sources: candidate.sources.clone(),
        objects: None,
        adopted: None,
    })))
}

/// A HEAD's 404 has no body, so anything on the way may have said it: a GET confirms.
async fn is_absent(scan: &Scan, reference: &Reference) -> Result<bool, ResolveError> {
    let context = &scan.context;
    let got = scan
        .stores
        .manifests
        .upstream
        .manifest(&context.repository, reference, &context.caller)
        .await;
    match got {
        Ok(Answer::Absent) => Ok(true),
        // It is there, and cannot be checked.
        Ok(Answer::Found(_)) | Err(UpstreamError::Content(_)) => Ok(false),
        Ok(Answer::Refused(refusal)) => Err(refusal.into()),
        Err(error) => Err(error.into()),
    }
}

fn is_unsupported(refusal: &Refusal) -> bool {
    let error = refusal.error();
    error.is_some_and(|error| error.says_only(&["DIGEST_INVALID", "UNSUPPORTED"]))
}
