//! A manifest that is to be deleted, with what was read of it while it was there.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::header::WARNING;
use http::{HeaderValue, StatusCode};

use crate::oci::{Digest, Manifest, RepositoryName, Tag};
use crate::registry::{Caller, RawManifest, RegistryResponse, WriteHeaders};

use super::link_tags::{LinkedManifest, link_tags};

/// Tags that a warning names.
const NAMED: usize = 4;

/// A manifest that is to be deleted.
pub(super) struct ManifestDeletion {
    pub repository: RepositoryName,
    pub caller: Caller,
    /// Those of the request.
    pub headers: WriteHeaders,
    pub own: Digest,
    /// What it was, as far as it could be read beforehand.
    pub read: Option<(Arc<RawManifest>, Manifest)>,
}

impl ManifestDeletion {
    pub fn link_tags(&self) -> BTreeSet<Tag> {
        let manifest = self.read.as_ref().map(|(_, manifest)| manifest);
        manifest
            .and_then(|manifest| link_tags(manifest, &self.own).ok())
            .unwrap_or_default()
    }

    /// `raw` as it goes under link tags.
    pub fn linked<'a>(&'a self, raw: &'a RawManifest) -> LinkedManifest<'a> {
        LinkedManifest {
            repository: &self.repository,
            media_type: &raw.media_type,
            bytes: &raw.bytes,
            digest: &raw.digest,
            caller: &self.caller,
        }
    }

    /// Adds to a refusal that may be about tags which of them refshim keeps (distribution-spec 1.1, "Warnings").
    pub fn explain(&self, refused: &mut RegistryResponse) {
        let tags = self.link_tags();
        let may_be_tagged = matches!(
            refused.status,
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED
        );
        let is_condition = refused.status == StatusCode::PRECONDITION_FAILED && self.headers.is_conditional();
        if tags.is_empty() || !may_be_tagged || is_condition {
            return;
        }
        let named: Vec<&str> = tags.iter().take(NAMED).map(Tag::as_str).collect();
        let warning = format!(
            "299 - \"refshim keeps link tags of this manifest, {} in all: {}; if the registry deletes nothing that a tag names, delete its tags first\"",
            tags.len(),
            named.join(", ")
        );
        // Tags are ASCII without quotes.
        if let Ok(value) = HeaderValue::try_from(warning) {
            refused.headers.append(WARNING, value);
        }
    }
}
