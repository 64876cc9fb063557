//! What happens to a request: it is routed, answered from the links that were found, or passed through.

mod context;
mod error;
mod handlers;
mod headers;
mod memory;
mod passthrough;
mod peer;
mod pipeline;
mod proof;
mod realm;
mod respond;
mod response_budget;
mod rewrite;
mod route;
mod state;
mod ui_page;
mod upload_offsets;
mod upstream_view;
mod write;

pub use peer::Peer;
pub use pipeline::Gateway;
pub use route::route;

/// For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    pub(crate) use super::rewrite::SelfView;
    pub(crate) use super::route::{Route, V3Question, route};
}
