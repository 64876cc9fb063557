//! Referrers whose digest cannot be computed here: nothing that the registry gives can be checked against it. They are listed
//! as the registry describes them and never cached; leaving them out would hide them, failing would let whoever pushes one
//! block an image.

use http::StatusCode;

use crate::oci::{Descriptor, Reference, Referrer, timestamp};
use crate::registry::{Answer, UpstreamError};

use super::candidates::Candidate;
use super::run::Scan;
use crate::referrers::error::ResolveError;

/// The entry of what `descriptor` names, where the registry holds it. `None` where it does not.
pub(in crate::referrers) async fn entry(
    scan: &Scan,
    candidate: &Candidate,
    descriptor: &Descriptor,
) -> Result<Option<Referrer>, ResolveError> {
    let (upstream, context) = (&scan.manifests.upstream, &scan.context);
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
        Ok(Answer::Absent) if is_absent(scan, &reference).await? => return Ok(None),
        Ok(Answer::Absent) => Descriptor {
            data: None,
            reference: None,
            ..descriptor.clone()
        },
        Ok(Answer::Refused(refusal)) if is_about_access(refusal.status) => return Err(refusal.into()),
        // Registries that know the algorithm as little as refshim does say so in many ways.
        Ok(Answer::Refused(refusal)) => return Ok(left_out(scan, descriptor, refusal.status)),
        Err(UpstreamError::Failed(status)) => return Ok(left_out(scan, descriptor, status)),
        Err(error) => return Err(error.into()),
    };
    Ok(Some(Referrer {
        created: timestamp::created(&listed.annotations),
        descriptor: listed,
        sources: candidate.sources.clone(),
        objects: None,
    }))
}

/// A HEAD's 404 has no body, so anything on the way may have said it: a GET confirms.
async fn is_absent(scan: &Scan, reference: &Reference) -> Result<bool, ResolveError> {
    let context = &scan.context;
    let got = scan
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

fn is_about_access(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

fn left_out(scan: &Scan, descriptor: &Descriptor, status: StatusCode) -> Option<Referrer> {
    tracing::warn!(digest = %descriptor.digest, %status, "a referrer by an unknown digest algorithm is not found; skipped");
    scan.manifests.counts.skipped();
    None
}
