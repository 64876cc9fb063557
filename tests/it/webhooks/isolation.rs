//! A receiver costs nothing but its queue.

use std::net::{Ipv4Addr, TcpListener};

use super::{Receiver, metric, telling, webhook, webhook_at};
use crate::support::fake::{Fake, Knobs};
use crate::support::{Refshim, eventually, within};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";

/// Takes connections, and never answers.
fn hanging() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

async fn push(proxy: &Refshim, count: usize) {
    let through = proxy.endpoint();
    let image = through.push_image("app", "v1", "one").await;
    for n in 0..count {
        through.push_artifact("app", &image, SBOM, &n.to_string()).await;
    }
}

#[tokio::test]
async fn who_hangs_holds_up_no_push_and_no_other_receiver() {
    let (fake, receiver) = (Fake::start(Knobs::default()).await, Receiver::start().await);
    let (_hanging, url) = hanging();
    let webhooks =
        webhook_at(&url, "name = 'hangs'\nqueue = 3\ntimeout = '1h'") + &webhook(&receiver, "name = 'works'");
    let proxy = telling(&fake.url(), &webhooks).start().await;
    within("pushes", push(&proxy, 10)).await;
    receiver.receives(10).await;
    // One is on its way, three wait.
    let dropped = eventually("events are dropped", async || {
        metric(&proxy, "dropped_total{webhook=\"hangs\",reason=\"queue-full\"}").await
    })
    .await;
    assert_eq!(dropped, 6);
    assert_eq!(metric(&proxy, "queued{webhook=\"hangs\"}").await, Some(4));
    assert_eq!(
        metric(&proxy, "dropped_total{webhook=\"works\",reason=\"queue-full\"}").await,
        Some(0)
    );
    let output = proxy.output();
    assert_eq!(output.matches("its queue is full").count(), 1, "{output}");
}

#[tokio::test]
async fn what_waits_is_delivered_before_the_process_ends() {
    let (fake, receiver) = (
        Fake::start(Knobs::default()).await,
        Receiver::answering([(503, &[] as &[_])]).await,
    );
    // Nothing would be sent for half an hour.
    let more = "retry_pause = '1h'";
    let table = webhook(&receiver, "").replace("retry_pause = '10ms'", more);
    let mut proxy = telling(&fake.url(), &table).start().await;
    push(&proxy, 3).await;
    receiver.receives(1).await;
    proxy.terminate();
    assert!(proxy.ended().await.success());
    receiver.receives(4).await;
    assert!(!proxy.output().contains("lost"), "{}", proxy.output());
}

#[tokio::test]
async fn who_hangs_holds_up_the_end_no_longer_than_its_grace() {
    let fake = Fake::start(Knobs::default()).await;
    let (_hanging, url) = hanging();
    let table = webhook_at(&url, "timeout = '1h'");
    let builder = telling(&fake.url(), &table).env("REFSHIM_SERVER__SHUTDOWN_GRACE", "1s");
    let mut proxy = builder.start().await;
    push(&proxy, 3).await;
    proxy.terminate();
    assert!(within("the process ends", proxy.ended()).await.success());
    let output = proxy.output();
    assert!(
        output.contains("events were not delivered within server.shutdown_grace") && output.contains("lost=3"),
        "{output}"
    );
}
