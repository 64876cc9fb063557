//! Whether what referrers are made of is there, and what their statements are about where their manifests leave that open.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use crate::cli::session::Session;
use crate::oci::{Descriptor, Digest, Manifest};
use crate::registry::BlobDownload;
use crate::ui::{ContentFormat, MAX_CONTENT, read_claims};

use super::evidence::StatedEvidence;
use super::findings::ReferrerContent;
use super::link_faults::LinkFaultKind;

/// Blobs asked for at the same time.
const PARALLEL: usize = 16;

/// What was found of blobs, each of which is asked for once.
pub(super) struct ContentCheck<'a> {
    session: &'a Session,
    /// Whether blobs are asked for that need not be read.
    checks_blobs: bool,
    known: BTreeMap<Digest, BlobState>,
}

enum BlobState {
    /// Its size in bytes, where the registry says it.
    There(Option<u64>),
    Gone,
    Unknown(String),
}

impl<'a> ContentCheck<'a> {
    pub(super) fn new(session: &'a Session, checks_blobs: bool) -> Self {
        Self {
            session,
            checks_blobs,
            known: BTreeMap::new(),
        }
    }

    /// Asks for all of these, several at a time.
    pub(super) async fn ask_for(&mut self, blobs: BTreeMap<&Digest, &Descriptor>) {
        if !self.checks_blobs {
            return;
        }
        let session = self.session;
        let blobs = blobs.into_values().filter(|blob| blob.inlined().is_none());
        let asked = stream::iter(blobs).map(async |blob| (blob.digest.clone(), ask(session, blob).await));
        self.known = asked.buffer_unordered(PARALLEL).collect().await;
    }

    /// Reads what `evidence` leaves open, and asks for the blobs that the manifest lists.
    pub(super) async fn check(&mut self, manifest: &Manifest, evidence: &mut StatedEvidence) -> ReferrerContent {
        let mut problem = None;
        for (format, part) in std::mem::take(&mut evidence.unread) {
            if let Err(reason) = self.read(format, &part, evidence).await {
                evidence.is_unclear = true;
                problem = Some(reason);
            }
        }
        let mut content = ReferrerContent::Whole;
        let blobs = manifest.config.iter().chain(&manifest.layers).chain(&manifest.blobs);
        for blob in blobs {
            match self.check_blob(blob) {
                ReferrerContent::Whole => {}
                broken @ ReferrerContent::Broken(..) => return broken,
                unknown @ ReferrerContent::Unknown(_) => content = unknown,
            }
        }
        match (content, problem) {
            (ReferrerContent::Whole, Some(problem)) => ReferrerContent::Unknown(problem),
            (content, _) => content,
        }
    }

    /// Reads a part to learn of what it is evidence. Content that is gone is told by [`Self::check_blob`].
    async fn read(
        &mut self,
        format: ContentFormat,
        part: &Descriptor,
        evidence: &mut StatedEvidence,
    ) -> Result<(), String> {
        let session = self.session;
        let blob = session
            .upstream()
            .blob(session.repository(), &part.digest, MAX_CONTENT, session.caller());
        let bytes = session.found(blob.await).map_err(|error| error.message())?;
        let Some(bytes) = bytes else {
            self.known.insert(part.digest.clone(), BlobState::Gone);
            return Ok(());
        };
        self.known
            .insert(part.digest.clone(), BlobState::There(Some(bytes.len() as u64)));
        match read_claims(format, part, &bytes) {
            Ok(claims) => evidence.add_claims(format, &claims),
            // It is not what its type says, so that it states nothing.
            Err(_) => evidence.is_unclear = true,
        }
        Ok(())
    }

    /// What was found of a blob. What was not asked for is taken to be there.
    pub(super) fn check_blob(&self, blob: &Descriptor) -> ReferrerContent {
        match self.known.get(&blob.digest) {
            Some(BlobState::There(Some(size))) if *size != blob.size => ReferrerContent::Broken(
                LinkFaultKind::BlobDiffers,
                format!("the blob {} has {size} bytes instead of {}", blob.digest, blob.size),
            ),
            Some(BlobState::There(_)) | None => ReferrerContent::Whole,
            Some(BlobState::Gone) => {
                ReferrerContent::Broken(LinkFaultKind::BlobGone, format!("the blob {} is gone", blob.digest))
            }
            Some(BlobState::Unknown(problem)) => ReferrerContent::Unknown(problem.clone()),
        }
    }
}

/// A HEAD states no absence, and many registries answer it with a redirect to where HEADs are refused: a GET decides, of which only
/// the head is read.
async fn ask(session: &Session, blob: &Descriptor) -> BlobState {
    let (repository, caller) = (session.repository(), session.caller());
    let size = usize::try_from(blob.size).ok();
    match session
        .upstream()
        .has_blob(repository, &blob.digest, size, caller)
        .await
    {
        Ok(true) => return BlobState::There(Some(blob.size)),
        Ok(false) => {}
        Err(error) => return BlobState::Unknown(session.failed(&error).message()),
    }
    let upstream = Arc::clone(session.upstream());
    let opened = BlobDownload::open(upstream, repository, &blob.digest, 0, caller).await;
    match session.found(opened) {
        Ok(Some(download)) => BlobState::There(download.length()),
        Ok(None) => BlobState::Gone,
        Err(error) => BlobState::Unknown(error.message()),
    }
}
