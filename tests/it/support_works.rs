//! The helpers themselves: what counts requests must count, what breaks them must break them.

use crate::support::{CountingProxy, Endpoint, Fault, Program, Registry, Tools};

#[tokio::test]
async fn both_registries_keep_what_is_pushed_and_over_a_restart() {
    for program in Program::ALL {
        let mut registry = Registry::start(program).await;
        let image = registry.endpoint().push_image("app", "v1", "one").await;
        registry.write_tags("app", (0..20).map(|n| (format!("t{n}"), image.digest.as_str())));
        registry.restart().await;
        let reply = registry.endpoint().get("/v2/app/tags/list").await.expect_status(200);
        assert_eq!(reply.json()["tags"].as_array().map(Vec::len), Some(21), "{program:?}");
        registry.endpoint().manifest("app", "t7").await.expect_status(200);
        let stored = registry.endpoint().manifest("app", &image.digest).await;
        assert_eq!(stored.expect_status(200).body, image.bytes);
    }
}

#[tokio::test]
async fn a_registry_with_users_refuses_strangers() {
    let registry = Registry::builder(Program::V2)
        .users(&[("alice", "wonder"), ("bob", "build")])
        .start()
        .await;
    let endpoint = registry.endpoint();
    assert_eq!(endpoint.get("/v2/").await.status, 200);
    assert_eq!(endpoint.clone().anonymous().get("/v2/").await.status, 401);
    assert_eq!(endpoint.basic("bob", "wonder").get("/v2/").await.status, 401);
}

#[tokio::test]
async fn the_link_counts_and_breaks() {
    let registry = Registry::v3().await;
    let proxy = CountingProxy::in_front_of(&registry.url()).await;
    let through = Endpoint::new(proxy.url());
    through.push_image("app", "v1", "one").await;
    assert_eq!(proxy.take().len(), 3);
    through.clone().h2c().get("/v2/app/tags/list").await.expect_status(200);
    assert_eq!(proxy.take(), ["GET /v2/app/tags/list"]);

    proxy.fail_times(1, Fault::Close, |seen| seen.path.contains("tags"));
    assert!(through.try_get("/v2/app/tags/list").await.is_err());
    through.get("/v2/app/tags/list").await.expect_status(200);
    proxy.fail(Fault::answer(429, &[("retry-after", "7")], ""), |_| true);
    assert_eq!(
        through.get("/v2/").await.expect_status(429).header("retry-after"),
        Some("7")
    );
    proxy.heal();
    proxy.fail(Fault::CutBody(3), |_| true);
    assert!(through.try_get("/v2/app/manifests/v1").await.is_err());
    proxy.heal();

    let gate = proxy.hold(|_| true);
    let held = tokio::spawn(async move { through.get("/v2/").await.status });
    gate.reached_by(1).await;
    gate.open();
    assert_eq!(held.await.unwrap(), 200);
}

#[tokio::test]
async fn every_client_talks_to_a_registry() {
    let (registry, tools) = (Registry::v2().await, Tools::new());
    let endpoint = registry.endpoint();
    let image = endpoint.push_image("app", "v1", "one").await;
    let name = endpoint.image("app", "v1");
    let digest = tools.crane(&["digest", &name]).await.ok();
    assert_eq!(digest.trim(), image.digest);
    let digest = tools
        .regctl(endpoint.authority(), &["image", "digest", &name])
        .await
        .ok();
    assert_eq!(digest.trim(), image.digest);
    let digest = tools.oras(&["resolve", "--plain-http", &name]).await.ok();
    assert_eq!(digest.trim(), image.digest);
    let source = format!("docker://{name}");
    let raw = tools
        .skopeo(&["inspect", "--raw", "--tls-verify=false", &source])
        .await
        .ok();
    assert_eq!(raw.as_bytes(), image.bytes);
    tools.cosign_sign_by_tag(&endpoint.image("app", &image.digest)).await;
    let signature = format!("sha256-{}.sig", image.hex());
    endpoint.manifest("app", &signature).await.expect_status(200);
}
