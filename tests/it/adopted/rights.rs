//! The registry's word about an adopted form is its word about the original, to this caller and now.

use std::time::Duration;

use super::Signed;
use crate::support::content::{IMAGE, SIGNATURE, bare_image};
use crate::support::fake::{Fake, Trouble, profiles};
use crate::support::{Local, Program, advance};

#[tokio::test]
async fn who_may_not_read_the_repository_is_given_no_adopted_form() {
    let fake = Fake::start(profiles::ghcr()).await;
    let image = fake.image("team/app", "v1", "image");
    let tag = format!("{}.sig", image.referrers_tag());
    let signature = fake.put("team/app", &tag, IMAGE, &bare_image("signature"));
    let adopted = signature.adopted(&image, Some(SIGNATURE));
    let refshim = Local::in_front_of(&fake.url()).await;
    let may = refshim.endpoint().authorization(&Fake::bearer("team/app", "pull"));
    let digests = may.referrer_digests("team/app", &image.digest).await;
    assert_eq!(digests, [&*adopted.digest]);
    may.manifest("team/app", &adopted.digest).await.expect_status(200);
    let other = refshim.endpoint().authorization(&Fake::bearer("team/other", "pull"));
    for endpoint in [other, refshim.endpoint()] {
        let path = format!("/v2/team/app/manifests/{}", adopted.digest);
        endpoint.get(&path).await.expect_status(401);
        endpoint.head(&path).await.expect_status(401);
    }
}

#[tokio::test]
async fn what_the_registry_withholds_or_no_longer_has_is_gone_in_both_forms() {
    let signed = Signed::new(Program::V2).await;
    let refshim = Local::in_front_of(&signed.registry.url()).await;
    let through = refshim.endpoint();
    let adopted = signed.adopted();
    through.referrers("app", &signed.image.digest).await;
    through.manifest("app", &adopted.digest).await.expect_status(200);
    let original = format!("/v2/app/manifests/{}", signed.signature.digest);
    signed.straight.delete(&original).await.expect_status(202);
    let path = format!("/v2/app/manifests/{}", adopted.digest);
    through.head(&path).await.expect_status(404);
    advance(31).await;
    through.manifest("app", &adopted.digest).await.expect_status(404);
}

/// During an outage, whoever could read a moment ago is given what is known, and told so.
#[tokio::test]
async fn an_outage_is_bridged_as_for_the_original() {
    let fake = Fake::start(Default::default()).await;
    let image = fake.image("app", "v1", "image");
    let tag = format!("{}.sig", image.referrers_tag());
    let signature = fake.put("app", &tag, IMAGE, &bare_image("signature"));
    let adopted = signature.adopted(&image, Some(SIGNATURE));
    let refshim = Local::configured(&fake.url(), |config| {
        config.upstreams[0].retries = 0;
        config.cache.access_for = Duration::from_secs(60);
    })
    .await;
    let through = refshim.endpoint();
    through.referrers("app", &image.digest).await;
    through.manifest("app", &adopted.digest).await.expect_status(200);
    advance(31).await;
    fake.trouble(Trouble::oci(503, "UNAVAILABLE", "down"), |_| true);
    let stale = through.manifest("app", &adopted.digest).await.expect_status(200);
    assert_eq!(stale.body, adopted.bytes);
    assert!(stale.header("warning").is_some(), "{stale:?}");
}
