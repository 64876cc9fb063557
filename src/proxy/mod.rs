//! What happens to a request: it is routed, answered from the links that were found, or passed through.

mod answer;
mod backend;
mod blobs;
mod discover;
mod door;
mod failure;
mod gateway;
mod given_manifests;
mod head;
mod headers;
mod held;
mod lookup;
mod manifests;
mod memory;
mod observe;
mod pages;
mod passthrough;
mod peer;
mod proof;
mod proposal_a;
mod proposal_b;
mod proposal_c;
mod push_room;
mod pushes;
mod realm;
mod referrers;
mod rewrite;
mod route;
mod router;
mod small_blobs;
mod synthesised;
mod tags_list;
mod tee;
mod uploads;
mod way;
pub mod write;

pub use gateway::Gateway;
pub use observe::Observed;
pub use peer::Peer;
pub use route::{Route, RouteError, route};

/// For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    pub(crate) use super::rewrite::SelfView;
    pub(crate) use super::route::{Route, V3Question, route};
}
