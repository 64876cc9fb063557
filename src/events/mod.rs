//! Telling others of links that come and go: CloudEvents over HTTP, signed after Standard Webhooks.
//!
//! `LinkEvent` is what happened; `EventPublisher` gives it to the queues of the receivers that want it and never waits; each receiver has
//! a task of its own (`webhook`) that empties its queue in order, one `Delivery` after the other, and waits as `RetrySchedule` says.

mod changed_links;
mod check;
mod counts;
mod delivery;
mod error;
mod link_event;
mod publisher;
mod retry_schedule;
mod signature;
mod upstream_events;
mod webhook;

pub use changed_links::{ChangedLinks, KeptLinks};
pub use check::check_webhook;
pub use counts::{DropReason, WebhookCounts};
pub use link_event::{LinkEvent, LinkOrigin};
pub use publisher::EventPublisher;
pub use upstream_events::UpstreamEvents;
