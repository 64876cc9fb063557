//! Replicas that share a Redis know from each other what was written beside, and what links lead to.

use http::Method;

use super::stage::APP;
use super::writing::attach;
use crate::support::{Redis, Refshim, Registry, eventually};

async fn replica(upstream: &str, redis: &str) -> Refshim {
    let replica = Refshim::builder(upstream)
        .env("REFSHIM_LINKS__REPOSITORY", "{name}.refs")
        .env("REFSHIM_CACHE__REDIS__URL", redis)
        .env("REFSHIM_CACHE__REDIS__TIMEOUT", "5s")
        .env("REFSHIM_CACHE__FRESH_FOR", "1h")
        .start()
        .await;
    eventually("connected to redis", async || {
        replica.output().contains("connected to the shared cache").then_some(())
    })
    .await;
    replica
}

#[tokio::test]
async fn what_one_wrote_beside_another_lists_and_gives_at_once() {
    let (registry, redis) = (Registry::v2().await, Redis::start().await);
    let (upstream, shared) = (registry.url(), redis.url());
    let (one, other) = tokio::join!(replica(&upstream, &shared), replica(&upstream, &shared));
    let (one, other) = (one.endpoint(), other.endpoint());
    let image = one.push_image(APP, "v1", "image").await;
    // The other remembers for an hour that there is no repository beside.
    assert_eq!(other.referrers(APP, &image.digest).await.len(), 0);
    let sbom = attach(&one, &image, "sbom").await;
    eventually("the other lists it", async || {
        let listed = other.referrer_digests(APP, &image.digest).await;
        (listed == [&*sbom.digest]).then_some(())
    })
    .await;
    registry.endpoint().manifest(APP, &sbom.digest).await.expect_status(404);
    other.manifest(APP, &sbom.digest).await.expect_status(200);
    // A HEAD searches for nothing: it was told.
    let layer = refshim::testing::oci::Digest::sha256(b"layer of sbom");
    let path = format!("/v2/{APP}/blobs/{layer}");
    let straight = registry.endpoint();
    straight.send(Method::DELETE, &path, &[], "").await.expect_status(202);
    straight.send(Method::HEAD, &path, &[], "").await.expect_status(404);
    other.send(Method::HEAD, &path, &[], "").await.expect_status(200);
}
