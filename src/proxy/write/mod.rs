//! Writing through the proxy: an acknowledged push is never undiscoverable.
//!
//! A push is forwarded, then its links are made durable as Proposal D tags, and only then acknowledged (docs/architecture.md, "Push with a subject").
//! Each link tag is unique per artifact, so there is no read-modify-write and no lost update.

mod adopted;
mod clean_up;
mod delete;
mod enveloped;
mod error;
mod keyed_locks;
mod link_tags;
mod manifest_deletion;
mod push;
mod pushed_manifest;
mod referrers_tag;
mod referrers_tag_update;
mod tag_parameters;
mod validate;

use std::sync::Arc;

use bytes::Bytes;

use crate::config::WritingConfig;
use crate::oci::{Digest, Reference, RepositoryName, Tag};
use crate::referrers::Resolver;
use crate::registry::{Caller, Upstream, WriteHeaders};

pub use error::WriteError;
pub use tag_parameters::PushQuery;

use keyed_locks::KeyedLocks;

/// Writes to one upstream.
pub struct Writer {
    resolver: Resolver,
    upstream: Arc<Upstream>,
    /// Held by each push of a manifest; alone by a clean-up while it takes away what only a deleted manifest may lose.
    manifests: KeyedLocks<(RepositoryName, Digest)>,
    /// Held by each deletion of a manifest; alone by a clean-up while it puts links back.
    deletions: KeyedLocks<(RepositoryName, Digest)>,
    /// Held alone by whoever writes a referrers tag.
    referrers_tags: KeyedLocks<(RepositoryName, Tag)>,
    maintain_fallback_tag: bool,
    /// Whether what the registry refuses is stored in envelopes.
    seals: bool,
}

/// One `PUT /v2/<repository>/manifests/<reference>`.
#[derive(Clone, Debug)]
pub struct Push {
    pub repository: RepositoryName,
    pub reference: Reference,
    pub query: PushQuery,
    /// The request's `Content-Type`.
    pub media_type: String,
    pub bytes: Bytes,
    /// Of the request. They go with what the caller pushes, not with links.
    pub headers: WriteHeaders,
    pub caller: Caller,
}

impl Writer {
    pub fn new(resolver: Resolver, config: &WritingConfig) -> Self {
        Self {
            upstream: resolver.upstream().clone(),
            resolver,
            manifests: KeyedLocks::default(),
            deletions: KeyedLocks::default(),
            referrers_tags: KeyedLocks::default(),
            maintain_fallback_tag: config.maintain_fallback_tag,
            seals: config.envelopes,
        }
    }
}
