//! Promise: what is in `deploy/` works with the program as it is: configurations load, manifests are valid and hardened,
//! dashboard, alerts and documentation name the metrics that a real scrape shows.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod examples;
mod files;
mod helm;
mod helm_values;
mod host;
mod kustomize;
mod metrics;
mod pods;
mod scrape;
