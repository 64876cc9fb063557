//! What happens to a request: it is routed, answered from the links that were found, or passed through.
//!
//! Each part and those that it imports, all of them below it (a test holds the map to the code). `pipeline` is the way of a request;
//! `handlers` answer it; `context` is what it carries along; `state` lives as long as the process; `error` makes answers of failures, and
//! `failure` is why.
//!
//! ```text
//! pipeline         ─► handlers passthrough context state upstream_failures failure realm upstream_view peer forwarded_for error route ui_page
//! handlers         ─► read_access passthrough memory content_reads context response_budget error write route ui_page ui_sessions upstream_view respond headers
//! read_access      ─► context headers
//! passthrough      ─► context error failure headers
//! memory           ─► respond headers
//! context          ─► state upstream_view peer error headers
//! state            ─► content_reads response_budget realm upload_offsets pulled_parts ui_sessions rewrite write upstream_failures
//! response_budget  ─► error
//! error            ─► write route respond failure
//! write            ─► keyed_locks
//! content_reads    ─► keyed_locks
//! keyed_locks
//! route            ─► ui_page
//! ui_page
//! respond          ─► content_coding headers
//! content_coding
//! realm            ─► upstream_view rewrite headers
//! upstream_view    ─► headers
//! headers
//! upload_offsets
//! pulled_parts
//! ui_sessions
//! rewrite
//! upstream_failures ─► failure
//! failure
//! forwarded_for
//! peer
//! ```

mod content_coding;
mod content_reads;
mod context;
mod error;
mod failure;
mod forwarded_for;
mod handlers;
mod headers;
mod keyed_locks;
mod memory;
mod passthrough;
mod peer;
mod pipeline;
mod pulled_parts;
mod read_access;
mod realm;
mod respond;
mod response_budget;
mod rewrite;
mod route;
mod state;
mod ui_page;
mod ui_sessions;
mod upload_offsets;
mod upstream_failures;
mod upstream_view;
mod write;

pub use peer::Peer;
pub use pipeline::Gateway;
pub use route::route;
pub use write::{Push, PushQuery, WriteError, Writer};

/// For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    pub(crate) use super::rewrite::SelfView;
    pub(crate) use super::route::{Route, V3Question, route};
}
