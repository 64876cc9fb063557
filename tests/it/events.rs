//! Promise: who sees a push that bypasses refshim can tell it, and the push shows at once; and what is asked of repositories
//! that are warmed at the start costs nothing.
//!
//! Lists stay fresh for an hour here: what shows, shows because somebody told.

use crate::support;
use crate::support::content::INDEX;
use crate::support::{
    CountingProxy, Endpoint, Fault, Program, Pushed, Refshim, Registry, Reply, Seen, TcpLink, eventually,
};
use http::Method;
use serde_json::{Value, json};

fn fresh_for_long(upstream: &str) -> support::refshim::Builder {
    Refshim::builder(upstream)
        .env("REFSHIM_CACHE__FRESH_FOR", "1h")
        .env("REFSHIM_LINKS__DEEP_REFRESH", "1h")
}

async fn post(refshim: &Refshim, body: &Value) -> Reply {
    refshim
        .admin()
        .send(Method::POST, "/events", &[], body.to_string())
        .await
}

/// An artifact under its Proposal D tag, straight to the registry.
async fn attach(registry: &Endpoint, subject: &Pushed, name: &str) -> Pushed {
    let artifact = registry
        .push_artifact("app", subject, "application/vnd.test", name)
        .await;
    registry
        .put_tag("app", &artifact.proposal_d_tag(subject, "test"), &artifact)
        .await;
    artifact
}

async fn count(refshim: &Refshim, subject: &Pushed) -> usize {
    refshim.endpoint().referrers("app", &subject.digest).await.len()
}

#[tokio::test]
async fn distribution_tells_of_pushes_and_deletions_that_bypass_refshim() {
    for program in Program::ALL {
        // The registry must know refshim's address, and refshim the registry's: a link in between is there before both.
        let link = TcpLink::in_front_of("127.0.0.1:9").await;
        let registry = Registry::builder(program)
            .notify(&format!("http://{}/events", link.authority()))
            .start()
            .await;
        let proxy = fresh_for_long(&registry.url()).start().await;
        link.lead_to(proxy.admin().authority());
        let image = registry.endpoint().push_image("app", "v1", "one").await;
        assert_eq!(count(&proxy, &image).await, 0);
        for n in 1..=3 {
            let artifact = attach(&registry.endpoint(), &image, &n.to_string()).await;
            eventually("the push shows", async || {
                let digests = proxy.endpoint().referrer_digests("app", &image.digest).await;
                digests.contains(&artifact.digest).then_some(())
            })
            .await;
        }
        let gone = attach(&registry.endpoint(), &image, "3").await;
        let path = format!("/v2/app/manifests/{}", gone.digest);
        registry.endpoint().delete(&path).await.expect_status(202);
        eventually("the deletion shows", async || {
            (count(&proxy, &image).await == 2).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn anybody_tells_in_the_plain_form() {
    let registry = Registry::v2().await;
    let proxy = fresh_for_long(&registry.url()).start().await;
    let straight = registry.endpoint();
    let image = straight.push_image("app", "v1", "one").await;
    assert_eq!(count(&proxy, &image).await, 0);
    attach(&straight, &image, "1").await;
    assert_eq!(count(&proxy, &image).await, 0, "nobody told");
    let told = post(&proxy, &json!({"repository": "other"})).await.expect_status(200);
    assert_eq!(told.json(), json!({"repositories": 1, "ignored": 0}));
    assert_eq!(count(&proxy, &image).await, 0, "of another repository");
    post(&proxy, &json!({"repository": "app"})).await.expect_status(200);
    assert_eq!(count(&proxy, &image).await, 1);

    // An ordinary tag that is known, and moves: a link that only reading it again finds.
    let index = |entries: Value| json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    straight.put_manifest("app", "latest", INDEX, &index(json!([]))).await;
    post(&proxy, &json!({"repository": "app"})).await.expect_status(200);
    assert_eq!(count(&proxy, &image).await, 1);
    let other = straight.push_image("app", "other", "two").await;
    let entry = other.annotated(json!({"org.opencontainers.reference.digest": image.digest}));
    straight
        .put_manifest("app", "latest", INDEX, &index(json!([entry])))
        .await;
    let notices = json!([{"repository": "app", "tag": "latest"}, {"repository": "b", "digest": other.digest}]);
    post(&proxy, &notices).await.expect_status(200);
    assert_eq!(count(&proxy, &image).await, 2);
}

#[tokio::test]
async fn refusals_are_one_line_of_json() {
    let registry = Registry::v2().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let proxy = Refshim::builder(&registry.url())
        .env("REFSHIM_ADMIN__EVENTS_TOKEN_FILE", file.to_str().unwrap())
        .start()
        .await;
    let admin = proxy.admin();
    let body = json!({"repository": "app"}).to_string();
    let refused = |reply: Reply, status: u16| {
        let reply = reply.expect_status(status);
        let text = reply.text();
        assert!(reply.json()["error"].is_string() && !text.contains('\n'), "{text}");
    };
    refused(admin.send(Method::POST, "/events", &[], body.clone()).await, 401);
    let wrong = admin.clone().authorization("Bearer s3cre");
    refused(wrong.send(Method::POST, "/events", &[], body.clone()).await, 401);
    let right = admin.authorization("Bearer s3cret");
    right.send(Method::POST, "/events", &[], body).await.expect_status(200);
    refused(right.send(Method::POST, "/events", &[], "{").await, 400);
    refused(
        right
            .send(Method::POST, "/events", &[], "x".repeat((1 << 20) + 1))
            .await,
        413,
    );
    refused(right.get("/events").await, 405);
    assert!(!proxy.output().contains("s3cret"));
    proxy
        .endpoint()
        .send(Method::POST, "/events", &[], "{}")
        .await
        .expect_status(404);
}

#[tokio::test]
async fn warmed_repositories_are_read_before_anybody_asks() {
    let registry = Registry::v2().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let image = registry.endpoint().push_image("app", "v1", "one").await;
    for n in 0..3 {
        attach(&registry.endpoint(), &image, &n.to_string()).await;
    }
    let proxy = Refshim::builder(link.url())
        .env("REFSHIM_CACHE__WARM", "app, missing/repository")
        .env("REFSHIM_LINKS__DEPTH", "names")
        .start()
        .await;
    eventually("both were tried", async || {
        let output = proxy.output();
        (output.matches("warmed").count() == 2).then_some(())
    })
    .await;
    link.take();
    assert_eq!(count(&proxy, &image).await, 3);
    // The two names that the first question about a subject asks for although no listing has them.
    let computed = ["", ".sig"].map(|suffix| format!("/manifests/sha256-{}{suffix}", image.hex()));
    let reads = |seen: &Seen| seen.path.contains("/manifests/") && seen.method == Method::GET;
    let is_listed = |seen: &Seen| !computed.iter().any(|path| seen.path.ends_with(path));
    assert_eq!(
        link.count(|seen| reads(seen) && is_listed(seen)),
        0,
        "{:?}",
        link.take()
    );
    link.take();
    assert_eq!(count(&proxy, &image).await, 3);
    assert_eq!(link.count(reads), 0, "{:?}", link.take());
}

#[tokio::test]
async fn a_registry_that_is_down_holds_up_no_start() {
    let registry = Registry::v2().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let gate = link.hold(|seen| seen.path.contains("tags/list"));
    let proxy = Refshim::builder(link.url())
        .env("REFSHIM_CACHE__WARM", "app")
        .start()
        .await;
    gate.reached_by(1).await;
    proxy.admin().get("/readyz").await.expect_status(200);
    proxy.endpoint().get("/v2/").await.expect_status(200);
    link.heal();
    link.fail(Fault::status(500), |seen| seen.path.contains("tags/list"));
    gate.open();
    eventually("it says so", async || proxy.output().contains("warmed").then_some(())).await;
}

#[tokio::test]
async fn so_many_searches_and_no_more_ask_a_registry_at_once() {
    let registry = Registry::v2().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let proxy = Refshim::bare()
        .config(&format!("[[upstream]]\nurl = '{}'\nscans = 2", link.url()))
        .start()
        .await;
    let image = registry.endpoint().push_image("app0", "v1", "one").await;
    for n in 1..6 {
        registry.endpoint().push_image(&format!("app{n}"), "v1", "one").await;
    }
    let gate = link.hold(|seen| seen.path.contains("tags/list"));
    let asked = (0..6).map(|n| {
        let (endpoint, digest) = (proxy.endpoint(), image.digest.clone());
        tokio::spawn(async move { endpoint.referrers(&format!("app{n}"), &digest).await.len() })
    });
    let asked: Vec<_> = asked.collect();
    gate.reached_by(2).await;
    // Others' requests are none of the searches' business.
    for n in 0..6 {
        proxy
            .endpoint()
            .manifest(&format!("app{n}"), "v1")
            .await
            .expect_status(200);
    }
    assert_eq!(link.count(|seen| seen.path.contains("tags/list")), 2);
    gate.open();
    for answer in asked {
        assert_eq!(answer.await.unwrap(), 0);
    }
    assert_eq!(link.count(|seen| seen.path.contains("tags/list")), 6);
}
