//! Promise: nodes that pull the same new image at once cost the registry one read of each manifest and small blob, and nobody gets what the
//! registry did not give to its credentials.

use http::Method;
use tokio::task::JoinSet;

use crate::support::content::IMAGE;
use crate::support::fake::Fake;
use crate::support::fake::knobs::Knobs;
use crate::support::{Endpoint, Pushed, Refshim};

/// Each on a connection of its own.
const NODES: usize = 200;
const LAYER: &str = "a small layer";

async fn registry() -> (Fake, Pushed, String) {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let layer = fake.blob("app", LAYER).to_string();
    (fake, image, layer)
}

/// All nodes ask at once; each must get `expected`.
async fn all_ask(nodes: impl IntoIterator<Item = Endpoint>, method: Method, path: &str, expected: &[u8]) {
    let mut asking = JoinSet::new();
    for node in nodes {
        let (method, path) = (method.clone(), path.to_owned());
        let accept = [("accept", IMAGE)];
        asking.spawn(async move { node.send(method, &path, &accept, "").await.expect_status(200).body });
    }
    for body in asking.join_all().await {
        assert_eq!(body, expected, "{path}");
    }
}

#[tokio::test]
async fn each_content_is_read_once_and_heads_pass() {
    let (fake, image, layer) = registry().await;
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let nodes = || (0..NODES).map(|_| refshim.endpoint());
    let manifest = format!("/v2/app/manifests/{}", image.digest);
    let layer = format!("/v2/app/blobs/{layer}");
    fake.take();
    all_ask(nodes(), Method::GET, &manifest, &image.bytes).await;
    all_ask(nodes(), Method::GET, &layer, LAYER.as_bytes()).await;
    all_ask(nodes(), Method::HEAD, "/v2/app/manifests/v1", b"").await;

    let asked = |method: Method, path: &str| fake.count(|seen| seen.method == method && seen.path == path);
    assert_eq!(asked(Method::HEAD, "/v2/app/manifests/v1"), NODES);
    assert_eq!(asked(Method::GET, &layer), 1);
    assert_eq!(asked(Method::GET, &manifest), 1);
}

#[tokio::test]
async fn every_credential_reads_for_itself() {
    let (fake, image, layer) = registry().await;
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let users = 4;
    let nodes = || (0..NODES).map(|number| refshim.endpoint().basic(&format!("user{}", number % users), "password"));
    for (path, expected) in [
        (format!("/v2/app/manifests/{}", image.digest), &image.bytes[..]),
        (format!("/v2/app/blobs/{layer}"), LAYER.as_bytes()),
    ] {
        fake.take();
        all_ask(nodes(), Method::GET, &path, expected).await;
        assert_eq!(fake.count(|seen| seen.path == path), users, "{path}");
    }
}
