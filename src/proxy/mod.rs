//! What happens to a request: it is routed, answered from the links that were found, or passed through.

mod backend;
pub(crate) mod handlers;
mod respond;

mod auth;
mod error;
mod gateway;
mod given_manifests;
mod head;
mod headers;
mod response_budget;

mod memory;
mod observe;

mod passthrough;
mod peer;
mod proof;

mod realm;

mod rewrite;
mod route;
mod upstream_selector;

mod upstream_view;
pub mod write;

pub use gateway::Gateway;
pub use peer::Peer;
pub use route::route;

/// For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    pub(crate) use super::rewrite::SelfView;
    pub(crate) use super::route::{Route, V3Question, route};
}
