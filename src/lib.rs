//! refshim: a compatibility proxy that gives legacy OCI registries the referrers they never had.
//!
//! A map of the crate; arrows go from left to right, nothing imports upwards:
//!
//! ```text
//! cli ──► server ──► proxy ──► links ──► upstream ──► oci
//!          │          ├─────► dialect ─────────────► oci
//!          │          ├─────► cache ───────────────► oci
//!          │          └─────► ui ──────────────────► oci
//!          └► admin, telemetry, config (leaf: read by main, passed down as plain values)
//! ```

#![warn(clippy::unwrap_used, clippy::expect_used)]

pub mod admin;
pub mod body;
pub mod cache;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod demo;
pub mod dialect;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod hop_by_hop;
pub mod links;
pub mod metrics;
pub mod oci;
pub mod proxy;
pub mod server;
pub mod telemetry;
pub mod tls;
pub mod trace;
pub mod ui;
pub mod upstream;
