//! The heart: finds everything that refers to a subject, by every dialect, at the lowest cost in upstream requests.
//!
//! [`Resolver`] answers from the cache or starts a scan; a scan asks each source (link tags, ordinary tags, the
//! registry's own API, links observed in passing) for candidates, and `scan::entries` reads and verifies those. Sources only say
//! where to look: what an entry says of itself comes from its own bytes.
//!
//! - `resolver`: one question (`lookup`), who may be told its answer (`rights`), the scan that finds it (`searches`); single manifests,
//!   blobs and tags for callers, and what the resolver is told of writes.
//! - `shared_work`: what callers who wait for somebody else's work do with its answer.
//! - `access`, `proof`, `basis`: what a credential is known to be given, what proves it, and what a list rests on that only some are told.
//! - `manifest_store` with `manifest_memory`, `tag_reads`, `envelopes`, `blob_proof`: manifests through the cache.
//! - `adopted_form`, `scan::adopted`, `resolver::adopted`: artifacts without `subject`, in a form that has it.
//! - `tag_listings`, `names` and what they import: which tags there are, where the registry's listing may lack some.
//! - `scan`: its context, its run, candidates, entries, and `sources`, a file each. `own_api` and `given` ask the registry itself.
//!
//! When a list may be empty is decided in four places: `scan::run` (every source answered, or the whole search failed), `scan::entries`
//! (every candidate was read, is absent, or is left out and counted), `resolver::rights::answer` (for whom that holds) and
//! `resolver::lookup` (a remembered one only while it is fresh). Every failure is a [`ResolveError`], never a shorter list.

mod access;
mod adopted_form;
mod basis;
mod blob_proof;
mod context;
mod counts;
mod envelopes;
mod error;
mod given;
mod listing_trials;
mod manifest_memory;
mod manifest_store;
mod marker;
mod missing_tags;
mod names;
mod own_api;
mod own_writes;
mod partial_listings;
mod proof;
mod recently_parsed;
mod remembered;
mod remembered_listing;
mod renewals;
mod resolver;
pub(crate) mod scan;
mod seen_tags;
mod shared_work;
mod subjects;
mod tag_listings;
mod tag_reads;
mod tombstones;
mod unfinished_walks;
mod vanished_tags;
mod warm;
mod written_tags;

pub use counts::{AnsweredFrom, ResolveCounts, TagEntryOutcome};
pub use error::ResolveError;
pub use remembered::{Given, Known, RememberedManifest, ServedHeaders};
pub use resolver::{CallersTags, KnownReferrers, Lookup, Recency, Resolver, UnknownForm};
pub use subjects::Subjects;
