//! What lives as long as the process: one [`Backend`] for each upstream, and what all of them share.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::content_reads::ContentReads;
use super::pulled_parts::PulledParts;
use super::realm::Realms;
use super::response_budget::ResponseBudget;
use super::rewrite::SelfView;
use super::ui_sessions::UiSessions;
use super::upload_offsets::UploadOffsets;
use super::upstream_failures::UpstreamFailures;
use super::write::Writer;
use crate::config::{Config, LimitsConfig, ServerConfig, TagsConfig, UpstreamConfig};
use crate::events::UpstreamEvents;
use crate::http::request_budget::RequestBudget;
use crate::referrers::Resolver;
use crate::registry::Upstream;
use crate::ui::RegistryLink;

/// What all upstreams have in common.
pub(super) struct SharedState {
    pub server: ServerConfig,
    pub tags: TagsConfig,
    pub limits: LimitsConfig,
    /// Bounds the large answers that are held in memory on their way down.
    pub response_budget: ResponseBudget,
    /// Bounds the manifests that are held in memory on their way up.
    pub request_budget: RequestBudget,
    pub merge_referrers_tag: bool,
    /// Largest blob that is remembered, in bytes.
    pub small_blob: u64,
    /// Whether it is noted of images that are pulled if they had a signature.
    pub notes_signed_pulls: bool,
    /// All upstreams, as the pages for people name them.
    pub registries: Vec<KnownRegistry>,
}

/// An upstream, by everything that it is called.
pub(super) struct KnownRegistry {
    pub link: RegistryLink,
    /// Its namespaces and host names, in lower case.
    pub names: BTreeSet<String>,
}

impl KnownRegistry {
    fn of(config: &UpstreamConfig) -> Self {
        let host = config.url.authority().to_ascii_lowercase();
        let namespaces = config.namespaces();
        Self {
            link: RegistryLink {
                namespace: namespaces.first().unwrap_or(&host).clone(),
                prefix: config.prefix.as_ref().map(ToString::to_string),
                host: host.clone(),
            },
            names: namespaces
                .into_iter()
                .chain(config.hosts.clone())
                .chain([host])
                .collect(),
        }
    }
}

impl SharedState {
    pub fn new(config: &Config) -> Self {
        Self {
            server: config.server.clone(),
            tags: config.tags.clone(),
            limits: config.limits,
            response_budget: ResponseBudget::new(config.limits.held_bytes),
            request_budget: RequestBudget::new(config.limits.held_bytes, config.limits.manifest_bytes),
            merge_referrers_tag: config.writing.merge_referrers_tag,
            small_blob: config.cache.small_blob,
            notes_signed_pulls: config.metrics.signed_pulls,
            registries: config.upstreams.iter().map(KnownRegistry::of).collect(),
        }
    }
}

/// One upstream, and everything that is kept about it.
pub(super) struct Backend {
    pub upstream: Arc<Upstream>,
    pub resolver: Resolver,
    /// How the upstream speaks of itself.
    pub self_view: SelfView,
    pub realms: Realms,
    pub writer: Arc<Writer>,
    pub uploads: UploadOffsets,
    pub reads: ContentReads,
    pub pulled_parts: PulledParts,
    pub failures: Arc<UpstreamFailures>,
    /// Who is logged in by the pages for people.
    pub sessions: UiSessions,
    pub shared: Arc<SharedState>,
    /// The other upstream that keeps its links.
    elsewhere: Option<Arc<Self>>,
}

impl Backend {
    /// Its links are kept in `elsewhere`, where that is given.
    pub fn new(
        resolver: Resolver,
        config: &Config,
        shared: Arc<SharedState>,
        events: UpstreamEvents,
        elsewhere: Option<Arc<Self>>,
    ) -> Self {
        let upstream = resolver.upstream().clone();
        let writer = Writer::new(resolver.clone(), &config.writing)
            .with_events(events)
            .with_links_by(elsewhere.as_ref().map(|other| other.writer.clone()));
        Self {
            self_view: SelfView::new(upstream.url()),
            failures: Arc::new(UpstreamFailures::new(upstream.name())),
            realms: Realms::default(),
            writer: Arc::new(writer),
            uploads: UploadOffsets::default(),
            reads: ContentReads::default(),
            pulled_parts: PulledParts::default(),
            sessions: UiSessions::new(&upstream),
            upstream,
            resolver,
            shared,
            elsewhere,
        }
    }

    /// The upstream that has the sibling repositories: this one, or another.
    pub fn of_siblings(&self) -> &Self {
        self.elsewhere.as_deref().unwrap_or(self)
    }
}
