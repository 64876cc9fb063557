//! Promise: of many artifacts attached at once, through one replica or several, while another client writes the referrers tag straight, none is
//! lost: not through refshim, and soon not straight at the registry.
//!
//! `REFSHIM_ATTACH_AT_ONCE` attaches more at once (32 by default).

use std::collections::BTreeSet;

use crate::support::content::{IMAGE, INDEX, artifact, index};
use crate::support::{Endpoint, Pushed, Redis, Refshim, Registry, Tools, eventually};
use serde_json::Value;

const SBOM: &str = "application/vnd.acme.sbom.v1+json";

fn at_once() -> usize {
    let given = std::env::var("REFSHIM_ATTACH_AT_ONCE").ok();
    given.map_or(32, |text| text.parse().expect("a number"))
}

/// The artifacts that the list names, by their type.
fn attached(list: &Value) -> BTreeSet<String> {
    let entries = list["manifests"].as_array().cloned().unwrap_or_default();
    let of_type = entries.into_iter().filter(|entry| entry["artifactType"] == SBOM);
    of_type
        .map(|entry| entry["digest"].as_str().unwrap().to_owned())
        .collect()
}

/// Adds an entry of its own to the tag again and again, as a client does that does not know of other writers.
async fn write_straight(straight: Endpoint, image: Pushed) {
    let tag = image.referrers_tag();
    for number in 0.. {
        let name = format!("straight {number}");
        // Without its blob, which is there: 2.8.2 takes one for missing while somebody uploads it again.
        let own = artifact(&image, "application/vnd.other", &name);
        let own = straight.put_manifest("app", "", IMAGE, &own).await;
        let stored = straight.manifest("app", &tag).await;
        let known = match stored.status {
            200 => stored.json()["manifests"].as_array().cloned().unwrap_or_default(),
            _ => Vec::new(),
        };
        let list = index(known.into_iter().chain([own.descriptor()]));
        straight.put_manifest("app", &tag, INDEX, &list).await;
        tokio::task::yield_now().await;
    }
}

/// `oras attach` so many times at once through these replicas, in turn.
async fn attach_at_once(replicas: &[Refshim]) {
    let tools = Tools::new();
    let attach = (0..at_once()).map(|number| {
        let (tools, endpoint) = (&tools, replicas[number % replicas.len()].endpoint());
        async move {
            let file = format!("{number}.json");
            tools.file(&file, format!("{{\"number\":{number}}}"));
            let name = endpoint.image("app", "v1");
            let arguments = ["attach", "--plain-http", "--artifact-type", SBOM, &name, &file];
            tools.oras(&arguments).await.ok();
        }
    });
    futures_util::future::join_all(attach).await;
}

async fn nothing_is_lost(registry: &Registry, replicas: &[Refshim]) {
    let straight = registry.endpoint();
    let image = straight.push_image("app", "v1", "image").await;
    let writer = tokio::spawn(write_straight(straight.clone(), image.clone()));
    attach_at_once(replicas).await;
    for replica in replicas {
        // At once where they share a Redis, else when a replica lists again.
        eventually("each replica lists all", async || {
            let listed = replica.endpoint().referrers_reply("app", &image.digest).await;
            (attached(&listed.json()).len() == at_once()).then_some(())
        })
        .await;
    }
    writer.abort();
    // Aborted between two requests or in one: it is over when it says so.
    let _ = writer.await;
    eventually("the registry's own list is complete", async || {
        let stored = straight.manifest("app", &image.referrers_tag()).await;
        (stored.status == 200 && attached(&stored.json()).len() == at_once()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn through_one_replica_none_is_lost() {
    let registry = Registry::v2().await;
    let replicas = [Refshim::in_front_of(&registry.url()).await];
    nothing_is_lost(&registry, &replicas).await;
}

#[tokio::test]
async fn through_three_replicas_that_share_nothing_none_is_lost() {
    let registry = Registry::v2().await;
    let start = || {
        Refshim::builder(&registry.url())
            .env("REFSHIM_CACHE__FRESH_FOR", "1s")
            .start()
    };
    let (a, b, c) = tokio::join!(start(), start(), start());
    nothing_is_lost(&registry, &[a, b, c]).await;
}

#[tokio::test]
async fn through_three_replicas_that_share_a_redis_none_is_lost() {
    let (registry, redis) = (Registry::v2().await, Redis::start().await);
    let start = || {
        Refshim::builder(&registry.url())
            .env("REFSHIM_CACHE__REDIS__URL", &redis.url())
            .env("REFSHIM_CACHE__REDIS__TIMEOUT", "5s")
            .start()
    };
    let (a, b, c) = tokio::join!(start(), start(), start());
    nothing_is_lost(&registry, &[a, b, c]).await;
    eventually("no lock is kept", async || {
        redis.keys().iter().all(|key| !key.contains(":lock:")).then_some(())
    })
    .await;
}
