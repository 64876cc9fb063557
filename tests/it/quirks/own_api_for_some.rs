//! A referrers API that answers each credential differently: what it keeps from one, it lists to another.

use super::{SPDX, asks_native};
use crate::support::content::INDEX;
use crate::support::fake::knobs::{Knobs, Native, Referrers};
use crate::support::fake::{Fake, Trouble};
use crate::support::{CountingProxy, Local, Pushed, Seen};

const READER: &str = "Bearer reader";
const STRANGER: &str = "Bearer stranger";
const EMPTY: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

fn no_route() -> Trouble {
    Trouble::answer(404, &[("content-type", "text/plain")], "404 page not found\n")
}

/// Images, each with a referrer that only the API lists, and to the reader alone: all others get `trouble`.
async fn registry(trouble: Trouble, images: usize) -> (Fake, Vec<(Pushed, Pushed)>) {
    let fake = Fake::start(Knobs {
        referrers: Referrers::Native(Native::default()),
        ..Knobs::default()
    })
    .await;
    let images = (0..images).map(|number| {
        let image = fake.image("app", &format!("v{number}"), &format!("image {number}"));
        let referrer = fake.artifact("app", "", &image, SPDX, &format!("referrer {number}"));
        (image, referrer)
    });
    let images = images.collect();
    fake.trouble(trouble, |seen| {
        asks_native(seen) && seen.authorization() != Some(READER)
    });
    (fake, images)
}

async fn listed(refshim: &Local, authorization: &str, image: &Pushed) -> Vec<String> {
    let endpoint = refshim.endpoint().authorization(authorization);
    endpoint.referrer_digests("app", &image.digest).await
}

/// The status that the stranger gets about the second image. The reader, who asks meanwhile, finds its referrer.
async fn together(fake: &Fake, images: &[(Pushed, Pushed)]) -> u16 {
    let [(warm, of_warm), (image, referrer)] = images else {
        panic!("two images")
    };
    let link = CountingProxy::in_front_of(&fake.url()).await;
    let refshim = Local::configured(link.url(), |_| ()).await;
    assert_eq!(listed(&refshim, READER, warm).await, [&*of_warm.digest]);
    let gate = link.hold(|seen| asks_native(seen) && seen.authorization() == Some(STRANGER));
    let ask = |authorization| {
        let (endpoint, digest) = (refshim.endpoint().authorization(authorization), image.digest.clone());
        tokio::spawn(async move { endpoint.referrers_reply("app", &digest).await })
    };
    let stranger = ask(STRANGER);
    gate.reached_by(1).await;
    let reader = ask(READER);
    // Meanwhile the reader's question most probably joins the search.
    refshim.endpoint().get("/v2/").await.expect_status(200);
    gate.open();
    let reader = reader.await.unwrap().expect_status(200);
    assert!(reader.text().contains(&referrer.digest), "{reader:?}");
    stranger.await.unwrap().status
}

fn nothing() -> [Trouble; 3] {
    [
        Trouble::answer(200, &[("content-type", INDEX)], EMPTY),
        Trouble::oci(404, "NAME_UNKNOWN", "no"),
        Trouble::oci(404, "MANIFEST_UNKNOWN", "no"),
    ]
}

#[tokio::test]
async fn what_the_api_keeps_from_one_credential_is_found_for_another() {
    for trouble in nothing() {
        let name = format!("{trouble:?}");
        let (fake, images) = registry(trouble, 2).await;
        let [(warm, of_warm), (image, referrer)] = &images[..] else {
            panic!("two images")
        };
        let refshim = Local::configured(&fake.url(), |_| ()).await;
        assert_eq!(listed(&refshim, READER, warm).await, [&*of_warm.digest], "{name}");
        for _ in 0..2 {
            assert!(listed(&refshim, STRANGER, image).await.is_empty(), "{name}");
            assert_eq!(listed(&refshim, READER, image).await, [&*referrer.digest], "{name}");
        }
        assert_eq!(together(&fake, &images).await, 200, "{name}");
    }
}

/// One question, and no other request but those for the rights.
#[tokio::test]
async fn a_list_is_anothers_once_the_api_lists_it_the_same() {
    let (fake, images) = registry(no_route(), 1).await;
    fake.heal();
    let (image, referrer) = &images[0];
    let refshim = Local::configured(&fake.url(), |_| ()).await;
    for number in 0..4 {
        for asked in [1, 0] {
            fake.take();
            let found = listed(&refshim, &format!("Bearer {number}"), image).await;
            assert_eq!(found, [&*referrer.digest]);
            assert_eq!(fake.count(asks_native), asked, "{number}");
            let gets = fake.count(|seen: &Seen| seen.path.contains("/manifests/") && seen.method == "GET");
            assert!(number == 0 || gets == 0, "{number}: {gets}");
        }
    }
}

/// Tokens are no users: one user has as many as it likes.
#[tokio::test]
async fn an_api_that_is_missing_to_many_tokens_is_asked_for_with_another() {
    for (trouble, subjects) in [(no_route(), 1), (Trouble::oci(404, "NAME_UNKNOWN", "no"), 3)] {
        let name = format!("{trouble:?}");
        let (fake, images) = registry(trouble, 4).await;
        let refshim = Local::configured(&fake.url(), |_| ()).await;
        for token in 0..4 {
            for (image, _) in &images[..subjects] {
                let found = listed(&refshim, &format!("Bearer of-one-user.{token}"), image).await;
                assert!(found.is_empty(), "{name}");
            }
        }
        for (image, referrer) in images.iter().rev() {
            assert_eq!(listed(&refshim, READER, image).await, [&*referrer.digest], "{name}");
        }
    }
}

#[tokio::test]
async fn an_api_that_never_answered_one_is_gone_to_no_one_else() {
    for trouble in [no_route(), Trouble::html(403)] {
        let (fake, images) = registry(trouble, 2).await;
        assert_eq!(together(&fake, &images).await, 502);
    }
}
