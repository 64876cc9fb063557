//! Telling others of links that come and go: CloudEvents over HTTP, signed after Standard Webhooks.
//!
//! `LinkEvent` is what happened; `EventPublisher` gives it to the queues of the receivers that want it and never waits; each receiver has
//! a task of its own (`webhook`) that empties its queue in order, one `Delivery` after the other, and waits as `RetrySchedule` says.

mod check;
mod counts;
mod delivery;
mod error;
mod link_event;
mod publisher;
mod retry_schedule;
mod signature;
mod webhook;

pub use check::check_webhook;
pub use counts::{DropReason, WebhookCounts};
pub use link_event::{LinkEvent, LinkedReferrer};
pub use publisher::{EventPublisher, UpstreamEvents};
