//! refshim: a compatibility proxy that gives legacy OCI registries the referrers they never had.
//!
//! The map: each module and those that it imports, all of them below it (a test holds the map to the code).
//!
//! ```text
//! testing   ─► fuzzing demo server proxy events render referrers cache registry auth http tls telemetry config metrics oci
//! fuzzing   ─► cli admin proxy ui render registry auth oci
//! cli       ─► demo admin server proxy events ui referrers cache registry auth tls telemetry config metrics oci build_info
//! demo      ─► http oci
//! admin     ─► events referrers cache registry http tls config metrics oci build_info
//! server    ─► proxy tls config
//! proxy     ─► events ui render referrers registry auth http config metrics oci expiring_map
//! events    ─► http tls config metrics oci expiring_map
//! ui        ─► oci
//! render    ─► oci
//! referrers ─► cache registry config metrics oci expiring_map
//! cache     ─► metrics oci expiring_map
//! registry  ─► auth http tls config metrics oci expiring_map
//! auth      ─► http expiring_map
//! http      ─► tls config
//! tls       ─► config
//! telemetry ─► config build_info
//! config    ─► oci build_info
//! metrics
//! oci
//! expiring_map
//! build_info
//! ```

#![warn(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod admin;
mod auth;
mod build_info;
mod cache;
mod cli;
mod config;
mod demo;
mod events;
mod expiring_map;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod http;
mod metrics;
mod oci;
mod proxy;
mod referrers;
mod registry;
mod render;
mod server;
mod telemetry;
pub mod testing;
mod tls;
mod ui;

pub use cli::main;
