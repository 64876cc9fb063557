//! What a registry sends along with what refshim repairs or remembers arrives: browsers live by it (CORS).

use crate::support::content::ANY;
use crate::support::fake::knobs::Knobs;
use crate::support::fake::{Fake, Trouble};
use crate::support::{Endpoint, Refshim, eventually};

const TYPE: &str = "application/vnd.acme.sbom.v1+json";
const ALLOW: &str = "access-control-allow-origin";

struct Setup {
    fake: Fake,
    through: Endpoint,
    /// By tag, by digest, a blob, tags, a synthesised referrers tag, nothing, and a range that is not there.
    paths: Vec<String>,
    _refshim: Refshim,
}

impl Setup {
    async fn new() -> Self {
        let fake = Fake::start(Knobs::default()).await;
        let builder = Refshim::builder(&fake.url()).env("REFSHIM_CACHE__FRESH_FOR", "1h");
        let refshim = builder.start().await;
        let image = fake.image("app", "v1", "image");
        fake.tagged_artifact("app", &image, TYPE, "sbom");
        let blob = fake.blob("app", "a signature");
        Self {
            paths: vec![
                "/v2/app/manifests/v1".to_owned(),
                format!("/v2/app/manifests/{}", image.digest),
                format!("/v2/app/blobs/{blob}"),
                "/v2/app/tags/list?n=1".to_owned(),
                format!("/v2/app/manifests/{}", image.referrers_tag()),
                "/v2/app/manifests/nothing".to_owned(),
            ],
            through: refshim.endpoint(),
            _refshim: refshim,
            fake,
        }
    }
}

#[tokio::test]
async fn headers_of_the_registry_arrive_also_from_memory() {
    let setup = Setup::new().await;
    let sent = [
        (ALLOW, "http://ui.example"),
        ("access-control-expose-headers", "Docker-Content-Digest"),
        ("x-content-type-options", "nosniff"),
        ("set-cookie", "session=1"),
        ("ratelimit-remaining", "7"),
    ];
    setup.fake.trouble(Trouble::headers(&sent), |_| true);
    for origin in [Some("http://ui.example"), None] {
        for path in &setup.paths {
            let mut asked = vec![("accept", ANY)];
            asked.extend(origin.map(|origin| ("origin", origin)));
            for round in 0..3 {
                let reply = setup.through.get_with(path, &asked).await;
                let is_own = path.contains("tags/list") && origin.is_none();
                for (name, value) in &sent[..3] {
                    assert!(
                        is_own || reply.header(name) == Some(*value),
                        "{round} {path}: {name}: {reply:?}"
                    );
                }
            }
        }
    }
    // From memory comes what is the registry's, not what was one caller's.
    eventually("it comes from memory", async || {
        setup.fake.take();
        let reply = setup.through.get_with(&setup.paths[1], &[("accept", ANY)]).await;
        let of_one_answer = ["set-cookie", "ratelimit-remaining"].map(|name| reply.header(name).is_some());
        (setup.fake.take().is_empty()).then(|| assert_eq!(of_one_answer, [false; 2], "{reply:?}"))
    })
    .await;
}

/// Some registries name the origin that asks.
#[tokio::test]
async fn what_was_said_to_one_origin_is_not_said_to_another() {
    let setup = Setup::new().await;
    for origin in ["http://a.example", "http://b.example"] {
        let echo = [(ALLOW, origin), ("vary", "Origin")];
        setup.fake.trouble(Trouble::headers(&echo), move |seen| {
            seen.headers.get("origin").is_some_and(|asked| asked == origin)
        });
    }
    // Without an origin first: nothing is said then.
    for path in &setup.paths {
        for _ in 0..2 {
            setup.through.get_with(path, &[("accept", ANY)]).await;
            for origin in ["http://a.example", "http://b.example", "http://a.example"] {
                let asked = [("accept", ANY), ("origin", origin)];
                let reply = setup.through.get_with(path, &asked).await;
                assert_eq!(reply.header(ALLOW), Some(origin), "{path}: {reply:?}");
            }
        }
    }
}
