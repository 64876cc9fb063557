//! A manifest brought into another repository, with everything that it lists.

use std::collections::BTreeSet;

use crate::cli::error::CliError;
use crate::cli::put::refusal;
use crate::cli::session::Session;
use crate::oci::media_type::ManifestKind;
use crate::oci::{Digest, Manifest, Reference};
use crate::registry::{Answer, CallersRepository, RawManifest, UpstreamError};

/// How deep indexes list indexes.
const MAX_DEPTH: usize = 4;

pub(super) struct Bringing<'a> {
    pub session: &'a Session,
    pub to: &'a Session,
}

impl Bringing<'_> {
    /// Writes `raw` under `reference`, after all that it lists; or says why the registry did not take it.
    pub async fn bring(&self, raw: &RawManifest, reference: &Reference) -> Result<Result<(), String>, CliError> {
        self.bring_within(raw, reference, MAX_DEPTH).await
    }

    async fn bring_within(
        &self,
        raw: &RawManifest,
        reference: &Reference,
        depth: usize,
    ) -> Result<Result<(), String>, CliError> {
        if let Ok(manifest) = raw.parse_of_any_kind()
            && let Err(problem) = self.bring_parts(&manifest, depth).await?
        {
            return Ok(Err(problem));
        }
        let to = self.to;
        let put = to.upstream().put_manifest(
            to.repository(),
            reference,
            &raw.media_type,
            raw.bytes.clone(),
            to.caller(),
        );
        let reply = put.await.map_err(|error| to.failed(&error))?;
        Ok(match reply.status.is_success() {
            true => Ok(()),
            false => Err(refusal(&reply)),
        })
    }

    async fn bring_parts(&self, manifest: &Manifest, depth: usize) -> Result<Result<(), String>, CliError> {
        let mut blobs = BTreeSet::new();
        for part in manifest.parts() {
            let is_manifest = manifest.kind == ManifestKind::Index || ManifestKind::of(&part.media_type).is_some();
            if !is_manifest {
                blobs.insert(&part.digest);
                continue;
            }
            if depth == 0 {
                return Ok(Err(format!("indexes are listed more than {MAX_DEPTH} levels deep")));
            }
            let reference = Reference::Digest(part.digest.clone());
            // An index may outlive what it lists: the registry judges.
            let Some(listed) = self.session.raw_manifest(&reference).await? else {
                continue;
            };
            let brought = Box::pin(self.bring_within(&listed, &reference, depth - 1)).await?;
            if brought.is_err() {
                return Ok(brought);
            }
        }
        for digest in blobs {
            if let Err(problem) = self.bring_blob(digest).await? {
                return Ok(Err(problem));
            }
        }
        Ok(Ok(()))
    }

    async fn bring_blob(&self, digest: &Digest) -> Result<Result<(), String>, CliError> {
        let failed = |error: UpstreamError| self.to.failed(&error);
        let (from, to) = (of(self.session), of(self.to));
        let writer = to.caller.about_to_write();
        if to
            .upstream
            .seems_to_hold_blob(to.repository, digest, &writer)
            .await
            .map_err(failed)?
        {
            return Ok(Ok(()));
        }
        Ok(match to.copy_blob(digest, from).await.map_err(failed)? {
            Answer::Found(()) => Ok(()),
            Answer::Absent => Err(format!("the registry has no repository {}: create it", to.repository)),
            Answer::Refused(refused) => Err(refusal(&refused)),
        })
    }
}

fn of(session: &Session) -> CallersRepository<'_> {
    CallersRepository {
        upstream: session.upstream(),
        repository: session.repository(),
        caller: session.caller(),
    }
}
