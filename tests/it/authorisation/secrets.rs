//! Credentials are nowhere but in the requests to the upstream.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::tokens::{TokenService, User};
use crate::support::{CountingProxy, Endpoint, Fault, Program, Refshim, Registry, Reply};

const TYPE: &str = "application/vnd.acme.sbom.v1+json";
const ALICE: User = ("alice", "alices-password");
const MALLORY: User = ("mallory", "mallorys-guess");

/// What must never be seen of a user of HTTP Basic.
fn of_basic((name, password): User) -> [String; 2] {
    [password.to_owned(), STANDARD.encode(format!("{name}:{password}"))]
}

/// Everything that refshim says while it does everything that it does with credentials, at the highest log level: its log,
/// its metrics, and the bodies and headers of its answers.
struct Said {
    refshim: Refshim,
    answers: Vec<Reply>,
}

impl Said {
    async fn after_traffic(link: &CountingProxy, good: &str, bad: &str) -> Self {
        let builder = Refshim::builder(link.url()).env("REFSHIM_LOG__LEVEL", "trace");
        let refshim = builder.env("REFSHIM_CACHE__FRESH_FOR", "0s").start().await;
        let mut answers = Vec::new();
        for http2 in [false, true] {
            let endpoint = |authorization: &str| -> Endpoint {
                let endpoint = refshim.endpoint().authorization(authorization);
                if http2 { endpoint.h2c() } else { endpoint }
            };
            let name = format!("image over HTTP/2: {http2}");
            let image = endpoint(good).push_image("app", "v1", &name).await;
            endpoint(good).push_artifact("app", &image, TYPE, "sbom").await;
            let referrers = format!("/v2/app/referrers/{}", image.digest);
            let manifest = format!("/v2/app/manifests/{}", image.digest);
            let paths = [
                &referrers,
                &manifest,
                "/v2/app/tags/list",
                "/v2/",
                "/v2/_catalog",
                "/v2/app/nonsense",
            ];
            for path in paths {
                for who in [good, bad] {
                    answers.push(endpoint(who).get(path).await);
                }
            }
            for fault in [
                Fault::Close,
                Fault::status(500),
                Fault::answer(200, &[], "{"),
                Fault::CutBody(1),
            ] {
                link.fail(fault, |_| true);
                answers.push(endpoint(good).get(&referrers).await);
                answers.push(endpoint(good).get("/v2/app/tags/list").await);
                link.heal();
            }
        }
        answers.push(refshim.admin().get("/metrics").await);
        Self { refshim, answers }
    }

    #[track_caller]
    fn holds_none_of(&self, secrets: &[String]) {
        let said = self
            .answers
            .iter()
            .map(|reply| format!("{:?} {}", reply.headers, reply.text()));
        for text in said.chain([self.refshim.output()]) {
            for secret in secrets {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
        assert!(
            self.refshim.output().contains("TRACE"),
            "the log is as loud as it can be"
        );
    }
}

#[tokio::test]
async fn a_password_is_never_told() {
    let registry = Registry::builder(Program::V2).users(&[ALICE]).start().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let header = |user| format!("Basic {}", of_basic(user)[1]);
    let said = Said::after_traffic(&link, &header(ALICE), &header(MALLORY)).await;
    said.holds_none_of(&[of_basic(ALICE), of_basic(MALLORY)].concat());
}

#[tokio::test]
async fn a_token_is_never_told() {
    let tokens = TokenService::start().await;
    tokens.allow(Some(ALICE), "app", &["pull", "push"]);
    let registry = tokens.guard(Registry::builder(Program::V2)).start().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let scope = "repository:app:pull,push";
    let (good, expired) = (
        tokens.bearer(Some(ALICE), scope, 300),
        tokens.bearer(Some(ALICE), scope, -3600),
    );
    let said = Said::after_traffic(&link, &good, &expired).await;
    // Neither the whole nor what makes it valid.
    let parts = |bearer: &str| -> Vec<String> {
        let token = bearer.trim_start_matches("Bearer ");
        token.split('.').skip(1).chain([token]).map(str::to_owned).collect()
    };
    said.holds_none_of(&[parts(&good), parts(&expired)].concat());
}
