//! An event is sent again until its receiver accepts it, and no longer than is agreed.

use std::collections::BTreeSet;
use std::time::Instant;

use http::Request;

use super::receiver::{KEY, Scripted, verified};
use super::{Receiver, metric, telling, webhook, webhook_at};
use crate::support::fake::{Fake, Knobs};
use crate::support::{Refshim, Service, TcpLink, Way, eventually};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";
const FAILS: Scripted = (503, &[]);

/// Pushes an image with so many artifacts.
async fn push(proxy: &Refshim, count: usize) -> Vec<String> {
    let through = proxy.endpoint();
    let image = through.push_image("app", "v1", "one").await;
    let mut digests = Vec::new();
    for n in 0..count {
        digests.push(through.push_artifact("app", &image, SBOM, &n.to_string()).await.digest);
    }
    digests
}

async fn counts(proxy: &Refshim, series: &str, expected: u64) {
    eventually(&format!("{series} is {expected}"), async || {
        (metric(proxy, series).await? == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_fails_is_sent_again_the_same_and_before_what_came_later() {
    let answers = [
        FAILS,
        (500, &[]),
        (429, &[]),
        (401, &[]),
        (404, &[]),
        (302, &[("location", "/hook?token=elsewhere")]),
    ];
    let (fake, receiver) = (Fake::start(Knobs::default()).await, Receiver::answering(answers).await);
    let name = receiver.url().trim_start_matches("http://");
    let proxy = telling(&fake.url(), &webhook(&receiver, "")).start().await;
    let pushed = push(&proxy, 2).await;
    let events = receiver.receives(8).await;
    assert!(events[..7].iter().all(|event| *event == events[0]), "{events:#?}");
    assert_eq!(events[0]["data"]["referrer"]["digest"], pushed[0]);
    assert_eq!(events[7]["data"]["referrer"]["digest"], pushed[1]);
    assert_ne!(events[0]["id"], events[7]["id"]);
    counts(&proxy, &format!("delivered_total{{webhook=\"{name}\"}}"), 2).await;
    counts(&proxy, &format!("failures_total{{webhook=\"{name}\"}}"), 6).await;
    counts(&proxy, &format!("queued{{webhook=\"{name}\"}}"), 0).await;
    let output = proxy.output();
    assert_eq!(output.matches("a webhook fails").count(), 1, "{output}");
    assert!(
        output.contains("it answers 503") && output.contains("accepts events again"),
        "{output}"
    );
}

#[tokio::test]
async fn a_receiver_that_cannot_be_reached_gets_its_events_when_it_can() {
    let (fake, receiver) = (Fake::start(Knobs::default()).await, Receiver::start().await);
    let link = TcpLink::in_front_of(receiver.url().trim_start_matches("http://")).await;
    link.set(Way::Cut);
    let url = format!("http://{}", link.authority());
    let proxy = telling(&fake.url(), &webhook_at(&url, "name = 'late'")).start().await;
    push(&proxy, 3).await;
    eventually("attempts fail", async || {
        (metric(&proxy, "failures_total{webhook=\"late\"}").await? >= 3).then_some(())
    })
    .await;
    link.set(Way::Open);
    receiver.receives(3).await;
}

#[tokio::test]
async fn a_receiver_is_left_alone_for_as_long_as_it_asks() {
    let (fake, receiver) = (
        Fake::start(Knobs::default()).await,
        Receiver::answering([(429, &[("retry-after", "2")] as &[_])]).await,
    );
    let proxy = telling(&fake.url(), &webhook(&receiver, "")).start().await;
    push(&proxy, 1).await;
    receiver.receives(1).await;
    let begun = Instant::now();
    let events = receiver.receives(2).await;
    // The first may have been seen a little late.
    assert!(begun.elapsed().as_millis() > 1500, "{:?}", begun.elapsed());
    assert_eq!(events[0], events[1]);
}

#[tokio::test]
async fn what_a_receiver_never_takes_holds_nothing_up_for_good() {
    let always = |answer: Scripted, times: usize| std::iter::repeat_n(answer, times);
    // Dropped after a few attempts, as it may be about the event; after `attempts`; at once.
    let disliked = always((422, &[]), 5).chain([(204, &[] as &[_])]);
    let answers = disliked.chain(always(FAILS, 6)).chain([(413, &[] as &[_]), (410, &[])]);
    let (fake, receiver) = (Fake::start(Knobs::default()).await, Receiver::answering(answers).await);
    let proxy = telling(&fake.url(), &webhook(&receiver, "name = 'one'\nattempts = 6"))
        .start()
        .await;
    let pushed = push(&proxy, 6).await;
    let events = receiver.receives(15).await;
    let mut order = events
        .iter()
        .map(|event| event["data"]["referrer"]["digest"].as_str().unwrap());
    let distinct: BTreeSet<&str> = order.clone().collect();
    assert_eq!(distinct.len(), 6);
    assert_eq!(order.next_back(), Some(&*pushed[5]));
    counts(&proxy, "dropped_total{webhook=\"one\",reason=\"attempts\"}", 2).await;
    counts(&proxy, "dropped_total{webhook=\"one\",reason=\"refused\"}", 2).await;
    counts(&proxy, "delivered_total{webhook=\"one\"}", 2).await;
    let output = proxy.output();
    assert_eq!(
        output.matches("an event for a webhook is lost").count(),
        2,
        "once for each reason: {output}"
    );
}

#[tokio::test]
async fn what_is_too_old_is_not_sent() {
    let (fake, receiver) = (
        Fake::start(Knobs::default()).await,
        Receiver::answering([(503, &[("retry-after", "9")] as &[_])]).await,
    );
    let more = "name = 'one'\nmax_age = '1s'";
    let proxy = telling(&fake.url(), &webhook(&receiver, more)).start().await;
    push(&proxy, 1).await;
    counts(&proxy, "dropped_total{webhook=\"one\",reason=\"too-old\"}", 1).await;
    receiver.receives(1).await;
}

/// While receivers change over, the file has the new and the old key.
#[tokio::test]
async fn a_new_key_counts_for_the_next_attempt() {
    const NEW: &str = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";
    let fake = Fake::start(Knobs::default()).await;
    let receiver = Service::start(|_: &Request<_>| http::Response::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    let table = format!(
        "[[events.webhooks]]\nurl = '{}/hook?token=in-the-url'\nsecret_file = '{}'\n",
        receiver.url(),
        file.display()
    );
    let proxy = telling(&fake.url(), &table).start().await;
    for (count, keys) in [(1, &[KEY][..]), (2, &[NEW, KEY]), (3, &[NEW])] {
        std::fs::write(&file, keys.join("\n")).unwrap();
        let image = proxy.endpoint().push_image("app", "v1", "one").await;
        proxy
            .endpoint()
            .push_artifact("app", &image, SBOM, &count.to_string())
            .await;
        let request = eventually("the event arrives", async || {
            receiver.requests().get(count - 1).cloned()
        })
        .await;
        verified(&request, keys);
    }
}
