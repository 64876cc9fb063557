//! Writing through the proxy: an acknowledged push is never undiscoverable.
//!
//! A push is forwarded, then its links are made durable in the forms of `writing.links`, and only then acknowledged (docs/architecture.md, "Push with
//! a subject"). Each Proposal D tag is unique per artifact, so there is no read-modify-write and no lost update. The referrers tag, which other
//! clients read, is one for all writers: `referrers_tag_update` and `watched_entries` say how it is kept.

mod adopted;
mod clean_up;
mod client_list;
mod delete;
mod entry_check;
mod enveloped;
mod error;
mod link_events;
mod link_tags;
mod manifest_deletion;
mod push;
mod pushed_manifest;
mod referrers_tag;
mod referrers_tag_update;
mod sibling;
mod sibling_delete;
mod sibling_parts;
mod tag_additions;
mod tag_parameters;
mod validate;
mod watched_entries;

use std::sync::Arc;

use bytes::Bytes;

use crate::config::{WritingConfig, WrittenLinks};
use crate::events::UpstreamEvents;
use crate::oci::{Digest, Reference, RepositoryName};
use crate::proxy::keyed_locks::KeyedLocks;
use crate::referrers::Resolver;
use crate::registry::{Caller, Upstream, WriteHeaders};

pub use error::WriteError;
pub use tag_parameters::PushQuery;

use entry_check::EntryCheck;
use referrers_tag_update::ReferrersTags;
use watched_entries::WatchedEntries;

/// Writes to one upstream.
pub struct Writer {
    resolver: Resolver,
    upstream: Arc<Upstream>,
    /// Held by each push of a manifest; alone by a clean-up while it takes away what only a deleted manifest may lose.
    manifests: KeyedLocks<(RepositoryName, Digest)>,
    /// Held by each deletion of a manifest; alone by a clean-up while it puts links back.
    deletions: Arc<KeyedLocks<(RepositoryName, Digest)>>,
    referrers_tags: Arc<ReferrersTags>,
    watched: Arc<WatchedEntries>,
    links: WrittenLinks,
    /// Whether what the registry refuses is stored in envelopes.
    seals: bool,
    /// `None` where nobody is told of links.
    events: Option<UpstreamEvents>,
    /// Who writes to the other registry that keeps the links.
    elsewhere: Option<Arc<Self>>,
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
        let deletions = Arc::<KeyedLocks<_>>::default();
        let referrers_tags = Arc::new(ReferrersTags::new(resolver.clone()));
        let check = EntryCheck {
            tags: referrers_tags.clone(),
            deletions: deletions.clone(),
        };
        Self {
            upstream: resolver.upstream().clone(),
            resolver,
            manifests: KeyedLocks::default(),
            deletions,
            referrers_tags,
            watched: Arc::new(WatchedEntries::new(check)),
            links: config.links,
            seals: config.envelopes,
            events: None,
            elsewhere: None,
        }
    }

    /// Links are kept in another registry, where one is given.
    pub fn with_links_by(self, elsewhere: Option<Arc<Self>>) -> Self {
        Self { elsewhere, ..self }
    }

    /// Links that come and go are published as `events`.
    pub fn with_events(mut self, events: UpstreamEvents) -> Self {
        self.events = events.has_receivers().then_some(events);
        self
    }

    /// Does what is due later, as far as that takes no more than two seconds: the process ends.
    pub async fn finish(&self) {
        self.watched.finish().await;
    }
}
