//! The heart: finds everything that refers to a subject, by every dialect, at the lowest cost in upstream requests.
//!
//! [`Resolver`] answers from the cache or starts a scan; a scan asks each source (`tag_source`, `deep`, `native`, `learned`)
//! for candidates, and `pull_up` turns those into verified entries. Sources only say where to look: what an entry says of
//! itself comes from its own bytes.

mod absent;
mod access;
mod behind;
mod blob_proof;
mod candidate;
mod counts;
mod deep;
mod deleted;
mod error;
mod given;
mod lately;
mod learned;
mod linked_tags;
mod listing;
mod manifest_memory;
mod manifests;
mod marker;
mod names;
mod own_api;
mod own_writes;
mod place;
mod proof;
mod pull_up;
mod remembered;
mod resolver;
mod scan;
mod seen_tags;
mod subjects;
mod tag_source;
mod unfinished;
mod unverified;
mod warm;

pub use counts::{AnsweredFrom, ResolveCounts};
pub use error::ResolveError;
pub use remembered::{Given, Known, MadeIndex, RememberedManifest, ServedHeaders};
pub use resolver::{Resolved, Resolver};
pub use subjects::Subjects;
