//! The heart: finds everything that refers to a subject, by every dialect, at the lowest cost in upstream requests.
//!
//! [`Resolver`] answers from the cache or starts a scan; a scan asks each source (link tags, ordinary tags, the
//! registry's own API, links observed in passing) for candidates, and `scan::entries` reads and verifies those. Sources only say
//! where to look: what an entry says of itself comes from its own bytes.

mod access;
pub(crate) mod scan;

mod basis;
mod blob_proof;

mod counts;

mod error;
mod given;
mod recently_parsed;
mod tombstones;

mod context;
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
mod tag_listings;

mod remembered;
mod resolver;

mod seen_tags;
mod subjects;

mod warm;
mod written_tags;

pub use counts::AnsweredFrom;
pub use error::ResolveError;
pub use remembered::{Given, Known, RememberedManifest, ServedHeaders};
pub use resolver::{Lookup, Resolver};
pub use subjects::Subjects;
