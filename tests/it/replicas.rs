//! Promise: several replicas that share a Redis answer as one. What is pushed through one is listed by another at once, and
//! whatever happens to Redis, every replica goes on.
//!
//! Lists stay fresh for an hour here: what shows, shows because the replicas told each other.

use crate::{large_repositories, support};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::content::INDEX;
use crate::support::{CountingProxy, Endpoint, Pushed, Redis, Refshim, Registry, TcpLink, Way, eventually};
use serde_json::{Value, json};

/// Long enough for any machine: "at once" must not depend on how busy it is.
const PATIENT: &str = "5s";

/// A replica that uses the Redis at `url`.
fn replica(upstream: &str, url: &str) -> support::refshim::Builder {
    Refshim::builder(upstream)
        .env("REFSHIM_CACHE__REDIS__URL", url)
        .env("REFSHIM_CACHE__REDIS__TIMEOUT", PATIENT)
        .env("REFSHIM_CACHE__FRESH_FOR", "1h")
        .env("REFSHIM_LINKS__DEEP_REFRESH", "1h")
}

/// Two replicas, connected.
async fn pair(upstream: &str, url: &str) -> (Refshim, Refshim) {
    let start = || replica(upstream, url).start();
    let (a, b) = tokio::join!(start(), start());
    for replica in [&a, &b] {
        connected(replica, 1).await;
    }
    (a, b)
}

/// Waits until it has connected to Redis so many times.
async fn connected(replica: &Refshim, times: usize) {
    eventually("connected to redis", async || {
        let output = replica.output();
        (output.matches("connected to the shared cache").count() >= times).then_some(())
    })
    .await;
}

/// An artifact that refers to `subject`, pushed by digest through `endpoint`.
async fn attach(endpoint: &Endpoint, subject: &Pushed, name: &str) -> Pushed {
    endpoint
        .push_artifact("app", subject, "application/vnd.test", name)
        .await
}

async fn lists(endpoint: &Endpoint, subject: &Pushed, artifact: &Pushed) -> bool {
    let digests = endpoint.referrer_digests("app", &subject.digest).await;
    digests.contains(&artifact.digest)
}

/// Waits until everything is listed.
async fn eventually_lists(endpoint: &Endpoint, subject: &Pushed, artifacts: &[&Pushed]) {
    eventually("the other replica lists it", async || {
        let digests = endpoint.referrer_digests("app", &subject.digest).await;
        artifacts.iter().all(|a| digests.contains(&a.digest)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_pushed_through_one_replica_is_listed_by_the_other_at_once() {
    let (registry, redis) = (Registry::v2().await, Redis::start().await);
    let (a, b) = pair(&registry.url(), &redis.url()).await;
    let (a, b) = (a.endpoint(), b.endpoint());
    let image = a.push_image("app", "v1", "one").await;
    assert!(b.referrers("app", &image.digest).await.is_empty());
    for n in 0..50 {
        let (from, to) = if n % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let artifact = attach(from, &image, &n.to_string()).await;
        let digests = to.referrer_digests("app", &image.digest).await;
        assert_eq!(digests.len(), n + 1, "push {n}");
        assert!(digests.contains(&artifact.digest), "push {n}");
    }
}

#[tokio::test]
async fn at_once_also_while_both_are_asked_all_the_time() {
    let (registry, redis) = (Registry::v2().await, Redis::start().await);
    let (a, b) = pair(&registry.url(), &redis.url()).await;
    let (a, b) = (a.endpoint(), b.endpoint());
    let image = a.push_image("app", "v1", "one").await;
    let mut askers = tokio::task::JoinSet::new();
    for endpoint in [&a, &b, &b] {
        let (endpoint, digest) = (endpoint.clone(), image.digest.clone());
        askers.spawn(async move {
            let mut before = 0;
            loop {
                let now = endpoint.referrers("app", &digest).await.len();
                assert!(now >= before, "what was listed is listed: {before}, then {now}");
                before = now;
            }
        });
    }
    for n in 0..30 {
        let (from, to) = if n % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let artifact = attach(from, &image, &n.to_string()).await;
        assert!(lists(to, &image, &artifact).await, "push {n}");
        if let Some(asker) = askers.try_join_next() {
            asker.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_deleted_through_one_replica_is_gone_from_the_other_at_once() {
    let (registry, redis) = (Registry::v2().await, Redis::start().await);
    let (a, b) = pair(&registry.url(), &redis.url()).await;
    let (a, b) = (a.endpoint(), b.endpoint());
    let image = a.push_image("app", "v1", "one").await;
    for n in 0..5 {
        let artifact = attach(&a, &image, &n.to_string()).await;
        assert!(lists(&b, &image, &artifact).await);
        b.manifest("app", &artifact.digest).await.expect_status(200);
        let path = format!("/v2/app/manifests/{}", artifact.digest);
        a.delete(&path).await.expect_status(202);
        assert!(!lists(&b, &image, &artifact).await, "delete {n}");
        b.manifest("app", &artifact.digest).await.expect_status(404);
    }
}

/// A replica through which is only pushed does not bring back to the others what it does not know to be deleted.
#[tokio::test]
async fn what_is_gone_is_asked_for_no_more_whatever_the_other_replica_learned() {
    let (registry, redis) = (Registry::v2().await, Redis::start().await);
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let brief = || {
        replica(link.url(), &redis.url())
            .env("REFSHIM_CACHE__FRESH_FOR", "1s")
            .start()
    };
    let (a, b) = tokio::join!(brief(), brief());
    for replica in [&a, &b] {
        connected(replica, 1).await;
    }
    let (asked, pushed) = (a.endpoint(), b.endpoint());
    let image = pushed.push_image("app", "v1", "one").await;
    let gone = attach(&pushed, &image, "gone").await;
    assert!(lists(&asked, &image, &gone).await);
    let path = format!("/v2/app/manifests/{}", gone.digest);
    registry.endpoint().delete(&path).await.expect_status(202);
    let pushes = AtomicUsize::new(0);
    // How often the registry is asked for it by the first question after a push.
    let requests = async || {
        let name = pushes.fetch_add(1, Ordering::Relaxed).to_string();
        let artifact = attach(&pushed, &image, &name).await;
        link.take();
        assert!(lists(&asked, &image, &artifact).await);
        link.count(|seen| seen.path.contains(gone.hex()))
    };
    eventually("it is asked for", async || (requests().await > 0).then_some(())).await;
    // Registries lag, so that goes on for a while.
    eventually("it is not asked for any more", async || {
        (requests().await == 0).then_some(())
    })
    .await;
    assert_eq!(requests().await, 0);
}

#[tokio::test]
async fn a_tag_that_moved_behind_refshim_has_moved_for_all_once_one_is_told() {
    let (registry, redis) = (Registry::v2().await, Redis::start().await);
    let (a, b) = pair(&registry.url(), &redis.url()).await;
    let straight = registry.endpoint();
    let index = |entries: Value| json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    for n in 0..5 {
        let image = straight
            .push_image("app", &format!("image{n}"), &format!("image {n}"))
            .await;
        let other = straight
            .push_image("app", &format!("other{n}"), &format!("other {n}"))
            .await;
        straight.put_manifest("app", "latest", INDEX, &index(json!([]))).await;
        assert!(b.endpoint().referrers("app", &image.digest).await.is_empty());
        // The link is an annotation inside an index: only reading the tag again finds it.
        let entry = other.annotated(json!({"org.opencontainers.reference.digest": image.digest}));
        straight
            .put_manifest("app", "latest", INDEX, &index(json!([entry])))
            .await;
        let notice = json!({"repository": "app", "tag": "latest"}).to_string();
        let told = a.admin().send(http::Method::POST, "/events", &[], notice).await;
        told.expect_status(200);
        assert_eq!(
            b.endpoint().referrer_digests("app", &image.digest).await,
            [other.adopted(&image, None).digest]
        );
    }
}

#[tokio::test]
async fn what_one_replica_found_costs_the_other_no_scan() {
    let (registry, redis) = (Registry::v3().await, Redis::start().await);
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let (a, mut b) = pair(link.url(), &redis.url()).await;
    let image = a.endpoint().push_image("app", "v1", "one").await;
    let artifacts = [
        attach(&a.endpoint(), &image, "1").await,
        attach(&a.endpoint(), &image, "2").await,
    ];
    eventually_lists(&a.endpoint(), &image, &artifacts.each_ref()).await;
    let shared = |redis: &Redis, kind: &str| redis.keys().iter().any(|key| key.contains(kind));
    eventually("the answer is shared", async || {
        shared(&redis, ":answer:").then_some(())
    })
    .await;
    // Also for a replica that starts cold.
    b.restart().await;
    connected(&b, 2).await;
    link.take();
    eventually_lists(&b.endpoint(), &image, &artifacts.each_ref()).await;
    let asked = link.take();
    let probe = format!("HEAD /v2/app/manifests/{}", image.digest);
    assert_eq!(asked, [probe], "only whether the caller may read");
    let found = |tier: &str| format!("refshim_cache_lookups_total{{entry=\"answer\",tier=\"{tier}\"}}");
    assert!(b.metric(&found("redis")).await >= Some(1.0));
    eventually_lists(&a.endpoint(), &image, &artifacts.each_ref()).await;
    assert!(a.metric(&found("memory")).await >= Some(1.0));
    assert!(a.metric(&found("miss")).await >= Some(1.0));
}

#[tokio::test]
async fn a_dead_redis_stops_nothing_and_what_was_missed_is_made_up_for() {
    let (registry, mut redis) = (Registry::v2().await, Redis::start().await);
    let (a, b) = pair(&registry.url(), &redis.url()).await;
    let image = a.endpoint().push_image("app", "v1", "one").await;
    let first = attach(&a.endpoint(), &image, "1").await;
    assert!(lists(&b.endpoint(), &image, &first).await);
    assert_eq!(a.metric("refshim_redis_up").await, Some(1.0));

    redis.kill();
    let missed = attach(&a.endpoint(), &image, "2").await;
    assert!(lists(&a.endpoint(), &image, &missed).await, "through the same replica");
    assert!(
        lists(&b.endpoint(), &image, &first).await,
        "from memory or the registry"
    );
    assert_eq!(a.metric("refshim_redis_up").await, Some(0.0));
    assert!(a.metric("refshim_redis_failures_total").await >= Some(1.0));

    redis.restart().await;
    eventually_lists(&b.endpoint(), &image, &[&first, &missed]).await;
    for replica in [&a, &b] {
        connected(replica, 2).await;
    }
    for n in 3..8 {
        let artifact = attach(&a.endpoint(), &image, &n.to_string()).await;
        assert!(lists(&b.endpoint(), &image, &artifact).await, "at once again");
    }
}

#[tokio::test]
async fn a_replica_cut_off_from_redis_tells_its_writes_when_it_is_back() {
    let (registry, redis) = (Registry::v2().await, Redis::start().await);
    let link = TcpLink::in_front_of(&redis.authority()).await;
    let a = replica(&registry.url(), &format!("redis://{}", link.authority()))
        .start()
        .await;
    let b = replica(&registry.url(), &redis.url()).start().await;
    connected(&a, 1).await;
    connected(&b, 1).await;
    let image = a.endpoint().push_image("app", "v1", "one").await;
    assert!(b.endpoint().referrers("app", &image.digest).await.is_empty());

    link.set(Way::Cut);
    let pushed = attach(&a.endpoint(), &image, "1").await;
    assert!(lists(&a.endpoint(), &image, &pushed).await);
    // Its list is fresh for an hour, and nobody has told it otherwise.
    assert!(!lists(&b.endpoint(), &image, &pushed).await);
    link.set(Way::Open);
    eventually_lists(&b.endpoint(), &image, &[&pushed]).await;
}

#[tokio::test]
async fn a_slow_or_silent_redis_is_left_alone() {
    let (registry, redis) = (Registry::v2().await, Redis::start().await);
    let link = TcpLink::in_front_of(&redis.authority()).await;
    let url = format!("redis://{}", link.authority());
    let proxy = replica(&registry.url(), &url)
        .env("REFSHIM_CACHE__REDIS__TIMEOUT", "50ms")
        .start()
        .await;
    connected(&proxy, 1).await;
    let image = proxy.endpoint().push_image("app", "v1", "one").await;
    for way in [Way::Slow(Duration::from_millis(300)), Way::Silent] {
        link.set(way);
        let pushed = attach(&proxy.endpoint(), &image, &format!("{way:?}")).await;
        eventually("it is left alone", async || {
            let left = proxy.output().matches("going on from memory").count();
            lists(&proxy.endpoint(), &image, &pushed).await;
            (left > 0).then_some(())
        })
        .await;
        let before = link.accepted();
        for _ in 0..100 {
            assert!(lists(&proxy.endpoint(), &image, &pushed).await, "{way:?}");
        }
        let tried = link.accepted() - before;
        assert!(tried < 50, "{tried} connections for 100 questions");
    }
}

#[tokio::test]
async fn a_flush_loses_nothing() {
    let (registry, redis) = (Registry::v2().await, Redis::start().await);
    let (a, b) = pair(&registry.url(), &redis.url()).await;
    let (a, b) = (a.endpoint(), b.endpoint());
    let image = a.push_image("app", "v1", "one").await;
    for n in 0..5 {
        assert_eq!(b.referrers("app", &image.digest).await.len(), n);
        redis.command::<()>(&["FLUSHALL"]);
        assert_eq!(b.referrers("app", &image.digest).await.len(), n);
        let artifact = attach(&a, &image, &n.to_string()).await;
        assert!(lists(&b, &image, &artifact).await, "flush {n}");
        redis.command::<()>(&["FLUSHALL"]);
        assert!(lists(&b, &image, &artifact).await, "flush {n}");
    }
}

#[tokio::test]
async fn a_full_redis_stores_nothing_but_replicas_still_learn_of_writes() {
    let (registry, redis) = (Registry::v2().await, Redis::start().await);
    let (a, b) = pair(&registry.url(), &redis.url()).await;
    let (a, b) = (a.endpoint(), b.endpoint());
    let image = a.push_image("app", "v1", "one").await;
    assert!(b.referrers("app", &image.digest).await.is_empty());
    redis.command::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut pushed = Vec::new();
    for n in 0..5 {
        pushed.push(attach(&a, &image, &n.to_string()).await);
        assert!(lists(&a, &image, &pushed[n]).await);
        eventually_lists(&b, &image, &pushed.iter().collect::<Vec<_>>()).await;
    }
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    eventually("writes are listed again", async || {
        let keys = redis.keys();
        keys.iter().any(|key| key.contains(":writes:")).then_some(())
    })
    .await;
    let last = attach(&a, &image, "last").await;
    eventually_lists(&b, &image, &[&last]).await;
}

#[tokio::test]
async fn garbage_under_its_keys_is_not_believed() {
    let (registry, redis) = (Registry::v2().await, Redis::start().await);
    let (a, mut b) = pair(&registry.url(), &redis.url()).await;
    let image = a.endpoint().push_image("app", "v1", "one").await;
    let mut pushed = Vec::new();
    for (n, garbage) in [
        &b"garbage"[..],
        b"",
        b"rsv1\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0{}",
        &[0xff; 4096],
    ]
    .iter()
    .enumerate()
    {
        pushed.push(attach(&a.endpoint(), &image, &n.to_string()).await);
        assert!(lists(&a.endpoint(), &image, &pushed[n]).await);
        for key in redis.keys() {
            overwrite(&redis, &key, garbage);
        }
        for replica in [&a, &b] {
            eventually_lists(&replica.endpoint(), &image, &pushed.iter().collect::<Vec<_>>()).await;
        }
        b.restart().await;
        connected(&b, n + 2).await;
        eventually_lists(&b.endpoint(), &image, &pushed.iter().collect::<Vec<_>>()).await;
    }
}

fn overwrite(redis: &Redis, key: &str, garbage: &[u8]) {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    // A full one takes no garbage either.
    let _ = redis::cmd("SET").arg(key).arg(garbage).exec(&mut connection);
}

#[tokio::test]
async fn a_redis_that_comes_back_from_an_old_snapshot_brings_no_old_lists_back() {
    let (registry, mut redis) = (Registry::v2().await, Redis::start().await);
    let (a, b) = pair(&registry.url(), &redis.url()).await;
    let image = a.endpoint().push_image("app", "v1", "one").await;
    assert!(b.endpoint().referrers("app", &image.digest).await.is_empty());
    eventually("the answer is shared", async || {
        redis.keys().iter().any(|key| key.contains(":answer:")).then_some(())
    })
    .await;
    redis.command::<()>(&["SAVE"]);
    let pushed = attach(&a.endpoint(), &image, "1").await;
    redis.restart().await;
    assert!(
        redis.keys().iter().any(|key| key.contains(":answer:")),
        "the old list is back"
    );
    // One that saw nothing of it has no reason for doubt.
    let late = replica(&registry.url(), &redis.url()).start().await;
    connected(&late, 1).await;
    assert!(lists(&late.endpoint(), &image, &pushed).await);
    for replica in [&a, &b] {
        connected(replica, 2).await;
        assert!(lists(&replica.endpoint(), &image, &pushed).await);
    }
}

#[tokio::test]
async fn registries_that_share_a_redis_share_nothing_else() {
    let (one, two, redis) = (Registry::v2().await, Registry::v2().await, Redis::start().await);
    let a = replica(&one.url(), &redis.url()).start().await;
    let b = replica(&two.url(), &redis.url()).start().await;
    connected(&a, 1).await;
    connected(&b, 1).await;
    let image = a.endpoint().push_image("app", "v1", "one").await;
    let pushed = attach(&a.endpoint(), &image, "1").await;
    assert!(lists(&a.endpoint(), &image, &pushed).await);
    b.endpoint().push_image("app", "v1", "one").await;
    assert!(!lists(&b.endpoint(), &image, &pushed).await);
}

#[tokio::test]
async fn over_tls_with_a_password_and_without_anybodys_credentials() {
    let registry = Registry::builder(support::Program::V2)
        .users(&[("alice", "wonder-land")])
        .start()
        .await;
    let redis = Redis::builder().tls().password("s3cret word").start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "s3cret word\n").unwrap();
    let start = || {
        replica(&registry.url(), &redis.url())
            .env("REFSHIM_CACHE__REDIS__CA_FILE", redis.ca_file().to_str().unwrap())
            .env("REFSHIM_CACHE__REDIS__PASSWORD_FILE", file.to_str().unwrap())
            .start()
    };
    let (a, b) = tokio::join!(start(), start());
    connected(&a, 1).await;
    connected(&b, 1).await;
    let alice = |replica: &Refshim| replica.endpoint().basic("alice", "wonder-land");
    let image = alice(&a).push_image("app", "v1", "one").await;
    let pushed = attach(&alice(&a), &image, "1").await;
    assert!(lists(&alice(&b), &image, &pushed).await);
    let stranger = b.endpoint().referrers_reply("app", &image.digest).await;
    assert_eq!(stranger.status, 401, "permission is nothing that is shared");
    assert_eq!(b.endpoint().manifest("app", &pushed.digest).await.status, 401);
    for replica in [&a, &b] {
        let output = replica.output();
        assert!(!output.contains("s3cret") && !output.contains("wonder"), "{output}");
    }
}

/// As `docs/redis.md` says.
const PERMISSIONS: &str = "~refshim:* &refshim:* +@read +@write +@transaction +@pubsub +@connection +info";

#[tokio::test]
async fn the_documented_permissions_suffice() {
    assert!(include_str!("../../docs/redis.md").contains(PERMISSIONS));
    let (registry, redis) = (Registry::v2().await, Redis::start().await);
    let words = PERMISSIONS.split(' ');
    let user: Vec<&str> = ["ACL", "SETUSER", "refshim", "on", ">p:ss/w@rd"]
        .into_iter()
        .chain(words)
        .collect();
    redis.command::<()>(&user);
    redis.command::<()>(&["ACL", "SETUSER", "default", "off"]);
    let url = format!("redis://refshim:p%3Ass%2Fw%40rd@{}/0", redis.authority());
    let (a, b) = pair(&registry.url(), &url).await;
    let image = a.endpoint().push_image("app", "v1", "one").await;
    assert!(b.endpoint().referrers("app", &image.digest).await.is_empty());
    let pushed = attach(&a.endpoint(), &image, "1").await;
    assert!(lists(&b.endpoint(), &image, &pushed).await);
    for replica in [&a, &b] {
        let output = replica.output();
        assert!(
            !output.contains("stores nothing") && !output.contains("from memory"),
            "{output}"
        );
    }
}

#[tokio::test]
async fn no_credential_reaches_redis() {
    let registry = Registry::builder(support::Program::V2)
        .users(&[("alice", "wonder-land")])
        .start()
        .await;
    let redis = Redis::start().await;
    let (a, _b) = pair(&registry.url(), &redis.url()).await;
    let alice = a.endpoint().basic("alice", "wonder-land");
    let image = alice.push_image("app", "v1", "one").await;
    let pushed = attach(&alice, &image, "1").await;
    assert!(lists(&alice, &image, &pushed).await);
    let basic = "YWxpY2U6d29uZGVyLWxhbmQ=";
    let kinds = [":writes:", ":answer:", ":manifest:", ":tags:"];
    let keys = eventually("everything is shared", async || {
        let keys = redis.keys();
        let has = |kind: &&str| keys.iter().any(|key| format!("{key}:").contains(*kind));
        kinds.iter().all(has).then_some(keys)
    })
    .await;
    for key in keys {
        let dumped: Vec<u8> = if key.contains(":writes:") {
            let entries: Vec<Vec<u8>> = redis.command(&["LRANGE", &key, "0", "-1"]);
            entries.concat()
        } else {
            redis.command(&["GET", &key])
        };
        let dumped = String::from_utf8_lossy(&dumped);
        for secret in ["alice", "wonder-land", basic] {
            assert!(!key.contains(secret) && !dumped.contains(secret), "{key}: {dumped}");
        }
        let ttl: i64 = redis.command(&["PTTL", &key]);
        assert!(ttl > 0, "{key} is kept for ever");
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_once_without_telling_it_and_stops_nothing() {
    let registry = Registry::v2().await;
    let redis = Redis::builder().password("right").start().await;
    let url = format!("redis://:wr0ng@{}", redis.authority());
    let proxy = replica(&registry.url(), &url).start().await;
    let image = proxy.endpoint().push_image("app", "v1", "one").await;
    let pushed = attach(&proxy.endpoint(), &image, "1").await;
    assert!(lists(&proxy.endpoint(), &image, &pushed).await);
    let output = eventually("it says so", async || {
        let output = proxy.output();
        output.contains("the shared cache cannot be used").then_some(output)
    })
    .await;
    assert!(!output.contains("wr0ng"), "{output}");
}

#[tokio::test]
async fn an_old_redis_value_of_another_view_is_not_shared() {
    let (registry, redis) = (Registry::v2().await, Redis::start().await);
    let all = replica(&registry.url(), &redis.url()).start().await;
    let few = replica(&registry.url(), &redis.url())
        .env("REFSHIM_LINKS__SOURCES", "cosign-tag")
        .start()
        .await;
    connected(&all, 1).await;
    connected(&few, 1).await;
    let image = all.endpoint().push_image("app", "v1", "one").await;
    let pushed = attach(&all.endpoint(), &image, "1").await;
    assert!(few.endpoint().referrers("app", &image.digest).await.is_empty());
    assert!(
        lists(&all.endpoint(), &image, &pushed).await,
        "what the other found is not all"
    );
}

/// A small generator of numbers, so that a seed that was printed can be tried again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // Knuth's MMIX.
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// Whatever happens to Redis and to the ways to it: a replica always lists what was pushed through itself, and once all is
/// well again every replica lists everything. `REFSHIM_SEED` repeats a run.
#[tokio::test]
async fn no_acknowledged_push_is_lost_whatever_happens_to_redis() {
    let seed = std::env::var("REFSHIM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 ^ u64::from(support::process::free_port()));
    println!("REFSHIM_SEED={seed}");
    let mut dice = Dice(seed);
    let (registry, mut redis) = (Registry::v2().await, Redis::start().await);
    let mut replicas = Vec::new();
    for _ in 0..3 {
        let link = TcpLink::in_front_of(&redis.authority()).await;
        let url = format!("redis://{}", link.authority());
        let refshim = replica(&registry.url(), &url)
            .env("REFSHIM_CACHE__REDIS__TIMEOUT", "100ms")
            .start()
            .await;
        replicas.push((refshim, link, Vec::<Pushed>::new()));
    }
    let image = registry.endpoint().push_image("app", "v1", "one").await;
    for n in 0..60 {
        let at = dice.roll(3);
        match dice.roll(12) {
            0 => redis.restart().await,
            1 => redis.command::<()>(&["FLUSHALL"]),
            2 => redis.command::<()>(&["CONFIG", "SET", "maxmemory", ["0", "1"][dice.roll(2)]]),
            3 => redis.keys().iter().for_each(|key| overwrite(&redis, key, b"garbage")),
            4 => replicas[at]
                .1
                .set([Way::Cut, Way::Silent, Way::Slow(Duration::from_millis(150))][dice.roll(3)]),
            5 | 6 => replicas[at].1.set(Way::Open),
            _ => {
                let (refshim, _, pushed) = &mut replicas[at];
                let endpoint = refshim.endpoint();
                pushed.push(attach(&endpoint, &image, &n.to_string()).await);
                let listed = endpoint.referrer_digests("app", &image.digest).await;
                let missing = pushed.iter().position(|artifact| !listed.contains(&artifact.digest));
                assert_eq!(missing, None, "seed {seed}, step {n}, replica {at}");
            }
        }
    }
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    for (_, link, _) in &replicas {
        link.set(Way::Open);
    }
    let all: Vec<&Pushed> = replicas.iter().flat_map(|(_, _, pushed)| pushed).collect();
    for (refshim, _, _) in &replicas {
        eventually_lists(&refshim.endpoint(), &image, &all).await;
    }
}

#[tokio::test]
async fn a_listing_of_any_size_costs_another_replica_no_walk() {
    let ((fake, images), redis) = (large_repositories::registry().await, Redis::start().await);
    let artifact = fake.tagged_artifact("app", &images[5], "application/vnd.test", "one");
    let start = || {
        replica(&fake.url(), &redis.url())
            .env("REFSHIM_LINKS__DEPTH", "names")
            .env("REFSHIM_CACHE__FRESH_FOR", "0s")
            .env("REFSHIM_UPSTREAM__0__FIRST_BYTE_TIMEOUT", "500ms")
            .env("REFSHIM_CACHE__REDIS__MAX_VALUE_BYTES", "256")
            .start()
    };
    let pieces = || {
        let mut keys = redis.keys();
        keys.retain(|key| key.contains(":tags:"));
        keys
    };
    let (a, b) = tokio::join!(start(), start());
    connected(&a, 1).await;
    connected(&b, 1).await;
    assert!(a.endpoint().referrers("app", &images[1].digest).await.is_empty());
    eventually("the listing is shared", async || {
        redis.keys().iter().any(|key| key.ends_with(":tags")).then_some(())
    })
    .await;
    assert!(pieces().len() > 2, "{:?}", redis.keys());
    let endpoint = b.endpoint();
    let question = endpoint.referrer_digests("app", &images[5].digest);
    let listed = large_repositories::by_its_pages(&fake, question).await;
    assert_eq!(listed, std::slice::from_ref(&artifact.digest));

    let _: () = redis.command(&["DEL", &pieces()[1]]);
    let c = start().await;
    connected(&c, 1).await;
    let listed = c.endpoint().referrer_digests("app", &images[5].digest).await;
    assert_eq!(listed, [artifact.digest]);
    eventually("the pieces of the version before are gone", async || {
        let versions: BTreeSet<String> = pieces()
            .iter()
            .filter_map(|key| Some(key.rsplit_once(':')?.0.to_owned()))
            .collect();
        (versions.len() == 1).then_some(())
    })
    .await;
}
