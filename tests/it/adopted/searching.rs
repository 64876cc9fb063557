//! The search for a digest that nobody here was told of: nobody waits for it longer than `links.patience`.

use std::time::Duration;

use super::Signed;
use crate::support::{CountingProxy, Local, Program, Reply, eventually};

fn is_asked_to_come_back(reply: &Reply) {
    assert_eq!(reply.status, 503, "{reply:?}");
    assert_eq!(reply.header("retry-after"), Some("5"));
    let text = reply.text();
    assert!(
        text.contains("is still being looked through; ask again in 5 s"),
        "{text}"
    );
}

/// The registry's 404 alone would say that there is no such signature, which another replica listed.
#[tokio::test]
async fn whoever_waits_for_it_is_asked_to_come_back_and_finds_it_done() {
    let signed = Signed::new(Program::V2).await;
    let link = CountingProxy::in_front_of(&signed.registry.url()).await;
    let refshim = Local::configured(link.url(), |config| {
        config.links.patience = Duration::from_millis(300);
        config.cache.fresh_for = Duration::from_secs(3600);
    })
    .await;
    let through = refshim.endpoint();
    through.manifest("app", "v1").await.expect_status(200);
    let slow = link.hold(|seen| seen.path.ends_with(".sig"));
    let adopted = signed.adopted();
    is_asked_to_come_back(&through.manifest("app", &adopted.digest).await);
    let deleted = format!("/v2/app/manifests/sha256:{}", "01".repeat(32));
    is_asked_to_come_back(&through.delete(&deleted).await);
    slow.open();
    let given = eventually("the search ends, though nobody waits for it", async || {
        let given = through.manifest("app", &adopted.digest).await;
        (given.status != 503).then_some(given)
    })
    .await;
    assert_eq!(given.expect_status(200).body, adopted.bytes);
    through.delete(&deleted).await.expect_status(404);
}
