//! When the upstream fails: a clear error or an answer that says how old it is. Never an empty list, never a hang.

mod documented;
mod hanging;
mod pass_through;
mod pauses;
mod scans;
mod stale;

use crate::support::content::{INDEX, index};
use crate::support::refshim::Builder;
use crate::support::{CountingProxy, Pushed, Refshim, Registry, Reply};

const TYPE: &str = "application/vnd.acme.sbom.v1+json";

/// A subject with one referrer of each kind of reading: by tag, and by digest out of a stored index.
struct Setup {
    registry: Registry,
    link: CountingProxy,
    refshim: Refshim,
    image: Pushed,
    by_digest: Pushed,
}

impl Setup {
    async fn new(configure: impl FnOnce(Builder) -> Builder) -> Self {
        let registry = Registry::v2().await;
        let link = CountingProxy::in_front_of(&registry.url()).await;
        let refshim = configure(Refshim::builder(link.url())).start().await;
        let straight = registry.endpoint();
        let image = straight.push_image("app", "v1", "image").await;
        straight.attach("app", &image, TYPE, "tagged").await;
        let by_digest = straight.push_artifact("app", &image, TYPE, "by digest").await;
        let stored = index([by_digest.descriptor()]);
        straight
            .put_manifest("app", &image.referrers_tag(), INDEX, &stored)
            .await;
        Self {
            registry,
            link,
            refshim,
            image,
            by_digest,
        }
    }

    async fn ask(&self) -> Reply {
        self.refshim.endpoint().referrers_reply("app", &self.image.digest).await
    }

    async fn expect_both(&self) {
        let listed = self.refshim.endpoint().referrers("app", &self.image.digest).await;
        assert_eq!(listed.len(), 2, "{listed:?}");
    }
}

/// An error that a client cannot take for "none": no success, no 404, and an OCI body.
#[track_caller]
fn expect_failure(reply: &Reply, case: &str) {
    assert!(matches!(reply.status, 429 | 500 | 502 | 503 | 504), "{case}: {reply:?}");
    reply.error_code();
    assert!(
        reply
            .header("content-type")
            .is_some_and(|t| t.starts_with("application/json")),
        "{case}: {reply:?}"
    );
}
