//! What any HTTP proxy needs, and what knows nothing of registries: bodies, connections, headers, trace context.

pub(crate) mod attempt_lock;
pub mod body;
pub(crate) mod client;
pub(crate) mod client_error;
pub(crate) mod collect;
mod connection_use;
pub(crate) mod connector;
pub(crate) mod egress_proxy;
pub(crate) mod error_chain;
mod exclusive_clients;
mod framing;
pub mod hop_by_hop;
mod http1_connection;
mod idle_connections;
mod keep_alive;
pub(crate) mod link_header;
mod origin_client;
mod policy_resolver;
pub(crate) mod redirect_policy;
pub(crate) mod request_budget;
pub(crate) mod response_body;
pub(crate) mod retry_after;
pub(crate) mod sharing;
pub(crate) mod tee;
pub mod trace_context;
pub(crate) mod transfer_progress;
pub(crate) mod via;
