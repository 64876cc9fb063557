//! What a manifest is to others, and what its content says: read only for the page of that one manifest.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Semaphore;

use super::content::read_blob;
use super::details::AT_ONCE;
use crate::oci::{Descriptor, Digest, Manifest, Reference, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::handlers::subject_lookup;
use crate::registry::Caller;
use crate::ui::{
    ArtifactClaims, Badge, ContentFormat, ImageConfig, MAX_CONTENT, PartClaims, PlatformImage, read_claims,
    readable_parts,
};

/// Artifacts that are read for pages at once, in the whole process: a part of each is in memory, and what it says.
static READS: Semaphore = Semaphore::const_new(4);
/// Largest config of an image that is read, in bytes.
const MAX_CONFIG: usize = 1 << 20;
/// Manifests of an index that are read for their size and date.
const MAX_PLATFORMS: usize = 20;
/// The config of an image that runs.
const IMAGE_CONFIGS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// What a manifest refers to, and what it is to that.
pub(super) struct ArtifactRole {
    pub kind: Option<Badge>,
    pub subject: Option<Digest>,
}

/// By the manifest's own words; where it names no subject, `found` counts if that is seen to be referred to by it.
pub(super) async fn role_of(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    (own, manifest): (&Digest, Option<&Manifest>),
    (found, caller): (Option<&Digest>, &Caller),
) -> ArtifactRole {
    let stated = manifest.and_then(Manifest::parent).map(|parent| parent.digest.clone());
    let kind = manifest.and_then(|manifest| Badge::of_manifest(manifest, own));
    let Some(found) = found.filter(|_| stated.is_none()) else {
        return ArtifactRole { kind, subject: stated };
    };
    let resolved = context.backend.resolver.resolve(repository, found, caller).await;
    let referrers = resolved.map(|resolved| resolved.links);
    let listed = referrers.iter().flat_map(|links| &links.referrers);
    // By either digest, where the list shows an adopted form.
    let entry = listed
        .into_iter()
        .find(|referrer| [&referrer.descriptor.digest, referrer.stored_digest()].contains(&own));
    ArtifactRole {
        kind: entry.map(Badge::of).or(kind),
        subject: entry.map(|_| found.clone()),
    }
}

/// What the readable parts of an artifact say. A part that cannot be read is named with the reason.
pub(super) async fn claims_of<'a>(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    manifest: &'a Manifest,
) -> Vec<PartClaims<'a>> {
    // Nobody closes it.
    let _permit = READS.acquire().await;
    let mut claims = Vec::new();
    for (format, part) in readable_parts(manifest) {
        let said = read_part(context, repository, format, part).await;
        claims.push(PartClaims { part, claims: said });
    }
    claims
}

async fn read_part(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    format: ContentFormat,
    part: &Descriptor,
) -> Result<ArtifactClaims, String> {
    let too_large = || format!("it is larger than {} bytes; download it instead", MAX_CONTENT);
    if part.size > MAX_CONTENT as u64 {
        return Err(too_large());
    }
    let read = read_blob(context, repository, &part.digest, MAX_CONTENT).await;
    let bytes = read.map_err(|error| error.to_string())?.ok_or_else(too_large)?;
    read_claims(format, part, &bytes).map_err(|error| format!("it is not what its media type says ({error})"))
}

/// The config of an image that runs. Only a hint, so that a failure is none.
pub(super) async fn config_of(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    manifest: &Manifest,
) -> Option<ImageConfig> {
    let config = manifest.config.as_ref()?;
    if !IMAGE_CONFIGS.contains(&config.media_type.as_str()) || config.size > MAX_CONFIG as u64 {
        return None;
    }
    let read = read_blob(context, repository, &config.digest, MAX_CONFIG).await;
    ImageConfig::parse(&read.ok()??)
}

/// Sizes and dates of the first manifests of an index. A refusal is about the whole page.
pub(super) async fn platforms_of(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    (index, shown): (&Manifest, usize),
    caller: &Caller,
) -> Result<BTreeMap<Digest, PlatformImage>, ProxyError> {
    let images = index.manifests.iter().take(shown);
    let images = images
        .filter(|listed| index.platforms.contains(&listed.digest))
        .take(MAX_PLATFORMS);
    let images: Vec<Digest> = images.map(|listed| listed.digest.clone()).collect();
    let read = stream::iter(images).map(|digest| platform(context, repository, digest, caller));
    let read: Vec<_> = read.buffered(AT_ONCE).try_collect().await?;
    Ok(read.into_iter().flatten().collect())
}

async fn platform(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    digest: Digest,
    caller: &Caller,
) -> Result<Option<(Digest, PlatformImage)>, ProxyError> {
    let reference = Reference::Digest(digest.clone());
    let raw = match subject_lookup::manifest(context, repository, &reference, caller).await {
        Ok(raw) => raw,
        Err(refused @ ProxyError::Refused(_)) => return Err(refused),
        Err(_) => return Ok(None),
    };
    let Ok(manifest) = raw.parse() else {
        return Ok(None);
    };
    let config = config_of(context, repository, &manifest).await;
    Ok(Some((digest, PlatformImage::new(&manifest, config.as_ref()))))
}
