//! Promise: whoever wants to know of links that come and go is told of each, once it is true and not before, with a signature; and whatever a
//! receiver does, no push waits for it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod beside;
mod documented;
mod isolation;
mod links;
mod receiver;
mod removals;
mod reports;
mod retries;
mod settings;

use crate::support::{Refshim, refshim};
use receiver::{KEY, Receiver};

/// refshim in front of a registry, with these `[[events.webhooks]]` tables.
fn telling(upstream: &str, webhooks: &str) -> refshim::Builder {
    Refshim::bare().config(&format!("[[upstream]]\nurl = '{upstream}'\n{webhooks}"))
}

/// The table of a receiver that is tried again at once.
fn webhook(receiver: &Receiver, more: &str) -> String {
    webhook_at(receiver.url(), more)
}

fn webhook_at(url: &str, more: &str) -> String {
    format!(
        "[[events.webhooks]]\nurl = '{url}/hook?token=in-the-url'\nsecret = '{KEY}'\nretry_pause = '10ms'\n{more}\n"
    )
}

/// The value of a receiver's counter.
async fn metric(refshim: &Refshim, series: &str) -> Option<u64> {
    let text = refshim.admin().get("/metrics").await.expect_status(200).text();
    let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    let mut matching = samples.filter(|(sample, _)| *sample == format!("refshim_webhook_{series}"));
    matching.next()?.1.parse().ok()
}
