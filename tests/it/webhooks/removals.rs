//! What the registry deleted is told, and nothing else.

use serde_json::{Value, json};

use super::{Receiver, telling, webhook};
use crate::support::content::{IMAGE, bare_image};
use crate::support::fake::knobs::Delete;
use crate::support::fake::{Fake, Knobs};
use crate::support::{CountingProxy, Endpoint, Fault, Refshim};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";
const ONLY_REMOVED: &str = "types = ['removed']";

struct Set {
    fake: Fake,
    link: CountingProxy,
    receiver: Receiver,
    refshim: Refshim,
}

impl Set {
    async fn new() -> Self {
        let fake = Fake::start(Knobs {
            delete: Delete::TagToo,
            ..Knobs::default()
        });
        let (fake, receiver) = (fake.await, Receiver::start().await);
        let link = CountingProxy::in_front_of(&fake.url()).await;
        Self {
            refshim: telling(link.url(), &webhook(&receiver, ONLY_REMOVED)).start().await,
            link,
            fake,
            receiver,
        }
    }

    fn through(&self) -> Endpoint {
        self.refshim.endpoint()
    }

    async fn delete(&self, reference: &str) -> u16 {
        self.through()
            .delete(&format!("/v2/app/manifests/{reference}"))
            .await
            .status
    }

    async fn removed(&self) -> Value {
        let event = self.receiver.receives(1).await.remove(0);
        assert_eq!(event["type"], "io.refshim.referrer.removed.v1");
        event["data"].clone()
    }
}

#[tokio::test]
async fn a_deleted_referrer_is_told_and_a_refused_deletion_is_not() {
    let set = Set::new().await;
    let image = set.through().push_image("app", "v1", "one").await;
    let kept = set.through().push_artifact("app", &image, SBOM, "kept").await;
    let gone = set.through().push_artifact("app", &image, SBOM, "gone").await;
    for fault in [Fault::status(403), Fault::status(405), Fault::status(500), Fault::Close] {
        set.link.fail(fault, |seen| seen.method == "DELETE");
        assert!(set.delete(&kept.digest).await >= 400);
        set.link.heal();
    }
    assert_eq!(set.delete(&gone.digest).await, 202);
    let data = set.removed().await;
    assert_eq!(data["repository"], "app");
    assert_eq!(data["subject"], image.digest);
    assert_eq!(data["referrer"]["digest"], gone.digest);
    assert_eq!(data["referrer"]["artifactType"], SBOM);
    assert_eq!(data["dialects"], json!(["subject"]));
    assert_eq!(
        set.through().referrer_digests("app", &image.digest).await,
        [kept.digest]
    );
}

/// What refers to a deleted image still names it.
#[tokio::test]
async fn a_deleted_subject_or_ordinary_tag_removes_no_link() {
    let set = Set::new().await;
    let image = set.through().push_image("app", "v1", "one").await;
    let sbom = set.through().push_artifact("app", &image, SBOM, "sbom").await;
    set.through().put_tag("app", "latest", &image).await;
    assert_eq!(set.delete("latest").await, 202);
    assert_eq!(set.delete(&image.digest).await, 202);
    assert_eq!(set.delete(&sbom.digest).await, 202);
    assert_eq!(set.removed().await["referrer"]["digest"], sbom.digest);
}

/// A tag of cosign's is all that holds its link.
#[tokio::test]
async fn a_deleted_tag_of_cosign_s_is_told_by_its_subject() {
    let set = Set::new().await;
    let image = set.through().push_image("app", "v1", "one").await;
    let tag = format!("{}.sig", image.referrers_tag());
    let signature = bare_image("signature");
    set.through().put_manifest("app", &tag, IMAGE, &signature).await;
    assert_eq!(set.delete(&tag).await, 202);
    assert!(set.fake.requests().iter().any(|seen| seen.method == "DELETE"));
    let data = set.removed().await;
    let expected = json!({"origin": "proxied", "upstream": "default", "repository": "app", "subject": image.digest, "dialects": ["cosign-tag"]});
    assert_eq!(data, expected);
}
