//! Whether the registry holds a manifest, on its own word.

use super::{Answer, Caller, ManifestHead, Upstream, UpstreamError};
use crate::oci::{Reference, RepositoryName};

impl Upstream {
    /// The largest manifest that is read, in bytes.
    pub fn manifest_bytes(&self) -> usize {
        self.manifest_bytes
    }

    /// What the registry holds under `reference`, for those to whom it matters that something is *not* there. A HEAD's 404 has no
    /// body, so an ingress or a firewall may have said it: only the registry's own 404 to a GET counts as absence.
    pub async fn confirmed_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: &Caller,
    ) -> Result<Answer<ManifestHead>, UpstreamError> {
        if let found @ Answer::Found(_) = self.head_manifest(repository, reference, caller).await? {
            return Ok(found);
        }
        // Some registries also refuse a HEAD where they would answer a GET.
        let read = self.manifest(repository, reference, caller).await?;
        read.try_map(|raw| {
            Ok(ManifestHead {
                size: Some(raw.bytes.len() as u64),
                digest: raw.digest,
                media_type: raw.media_type,
                etag: None,
            })
        })
    }
}
