//! What the end-to-end tests stand on: real registries, a link that counts and breaks, the real binary, real clients.
//!
//! ```text
//! client ──► Refshim ──► CountingProxy ──► Registry
//! ```
//!
//! Everything listens on a free loopback port, has a deadline, and ends with the test that started it.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of this")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

pub mod behind_link;
pub mod certificate;
pub mod cli;
pub mod containerd;
pub mod content;
pub mod counting_proxy;
pub mod egress_proxy;
pub mod endpoint;
pub mod exchange;
pub mod fake;
pub mod fault;
pub mod local;
pub mod nginx;
pub mod process;
pub mod redis;
pub mod refshim;
pub mod registry;
pub mod service;
pub mod tcp_link;
pub mod tls_link;
pub mod tokens;
pub mod tools;
pub mod wait;
pub mod wire;

pub use self::redis::Redis;
pub use behind_link::behind_link;
pub use content::Pushed;
pub use counting_proxy::{CountingProxy, Seen};
pub use egress_proxy::EgressProxy;
pub use endpoint::Endpoint;
pub use exchange::Reply;
pub use fault::{Fault, Gate};
pub use local::Local;
pub use nginx::Nginx;
pub use refshim::Refshim;
pub use registry::{Program, Registry};
pub use service::Service;
pub use tcp_link::{TcpLink, Way};
pub use tls_link::TlsLink;
pub use tokens::TokenService;
pub use tools::Tools;
pub use wait::{advance, eventually, within};
