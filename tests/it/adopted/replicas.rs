//! What one replica listed, every other gives: by Redis, or by looking for it once per listing.

use super::Signed;
use crate::support::{CountingProxy, Endpoint, Local, Program, Pushed, Redis, Refshim, eventually};

async fn listed_by(endpoint: &Endpoint, signed: &Signed) -> Pushed {
    let adopted = signed.adopted();
    let digests = endpoint.referrer_digests("app", &signed.image.digest).await;
    assert_eq!(digests, [&*adopted.digest]);
    adopted
}

#[tokio::test]
async fn a_replica_that_was_told_nothing_makes_what_another_listed() {
    for program in Program::ALL {
        let signed = Signed::new(program).await;
        let url = signed.registry.url();
        let (one, other) = tokio::join!(Refshim::in_front_of(&url), Refshim::in_front_of(&url));
        let adopted = listed_by(&one.endpoint(), &signed).await;
        // By a HEAD, clients ask whether they must push.
        let path = format!("/v2/app/manifests/{}", adopted.digest);
        other.endpoint().head(&path).await.expect_status(404);
        let given = other
            .endpoint()
            .manifest("app", &adopted.digest)
            .await
            .expect_status(200);
        assert_eq!(given.body, adopted.bytes);
        other.endpoint().head(&path).await.expect_status(200);
    }
}

#[tokio::test]
async fn replicas_that_share_a_redis_know_what_the_others_listed() {
    let (signed, redis) = (Signed::new(Program::V2).await, Redis::start().await);
    let link = CountingProxy::in_front_of(&signed.registry.url()).await;
    let start = || {
        Refshim::builder(link.url())
            .env("REFSHIM_CACHE__REDIS__URL", &redis.url())
            .env("REFSHIM_CACHE__REDIS__TIMEOUT", "5s")
            .start()
    };
    let (one, other) = tokio::join!(start(), start());
    for replica in [&one, &other] {
        eventually("connected to redis", async || {
            replica.output().contains("connected to the shared cache").then_some(())
        })
        .await;
    }
    let adopted = listed_by(&one.endpoint(), &signed).await;
    eventually("the other is told", async || {
        redis
            .keys()
            .iter()
            .any(|key| key.contains(&adopted.digest))
            .then_some(())
    })
    .await;
    link.take();
    let path = format!("/v2/app/manifests/{}", adopted.digest);
    other.endpoint().head(&path).await.expect_status(200);
    let given = other
        .endpoint()
        .manifest("app", &adopted.digest)
        .await
        .expect_status(200);
    assert_eq!(given.body, adopted.bytes);
    assert!(
        link.take().iter().all(|line| !line.contains("/tags/list")),
        "nothing is searched for"
    );
}

/// Digests that nobody ever had are asked for all the time. Searching for them costs once per listing.
#[tokio::test]
async fn a_digest_that_is_nobodys_is_searched_for_once_per_listing() {
    let signed = Signed::new(Program::V2).await;
    let link = CountingProxy::in_front_of(&signed.registry.url()).await;
    let refshim = Local::configured(link.url(), |config| {
        config.cache.fresh_for = std::time::Duration::from_secs(3600)
    })
    .await;
    let through = refshim.endpoint();
    through.manifest("app", "v1").await.expect_status(200);
    let nobodys = |n: u8| format!("sha256:{}", format!("{n:02x}").repeat(32));
    link.take();
    through.manifest("app", &nobodys(1)).await.expect_status(404);
    let first = link.take();
    assert!(first.iter().any(|line| line.contains(".sig")), "{first:?}");
    for n in 2..5 {
        through.manifest("app", &nobodys(n)).await.expect_status(404);
        // The digest itself, and the tag of its envelope.
        let again = link.take();
        assert!(
            again.len() <= 2 && again.iter().all(|line| line.contains(&format!("{n:02x}{n:02x}"))),
            "{again:?}"
        );
    }
    // Everything that was found on the way is known.
    let adopted = signed.adopted();
    through.manifest("app", &adopted.digest).await.expect_status(200);
}
