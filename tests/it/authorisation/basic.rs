//! A registry with names and passwords.

use http::Method;

use crate::support::content::{ANY, INDEX, index};
use crate::support::{CountingProxy, Endpoint, Fault, Program, Pushed, Refshim, Registry, Reply, Seen, eventually};

const TYPE: &str = "application/vnd.acme.sbom.v1+json";
const ALICE: (&str, &str) = ("alice", "alices-password");
const BOB: (&str, &str) = ("bob", "bobs-password");

struct Setup {
    _registry: Registry,
    straight: Endpoint,
    link: CountingProxy,
    refshim: Refshim,
    image: Pushed,
}

impl Setup {
    async fn new(program: Program, environment: &[(&str, &str)]) -> Self {
        let registry = Registry::builder(program).users(&[ALICE, BOB]).start().await;
        let link = CountingProxy::in_front_of(&registry.url()).await;
        let mut builder = Refshim::builder(link.url());
        for (name, value) in environment {
            builder = builder.env(name, value);
        }
        let refshim = builder.start().await;
        let straight = registry.endpoint();
        let image = straight.push_image("app", "v1", "image").await;
        straight.attach("app", &image, TYPE, "sbom").await;
        Self {
            _registry: registry,
            straight,
            link,
            refshim,
            image,
        }
    }

    fn alice(&self) -> Endpoint {
        self.refshim.endpoint().basic(ALICE.0, ALICE.1)
    }

    fn bob(&self) -> Endpoint {
        self.refshim.endpoint().basic(BOB.0, BOB.1)
    }

    fn referrers(&self) -> String {
        format!("/v2/app/referrers/{}", self.image.digest)
    }
}

fn is_by(user: (&str, &str)) -> impl Fn(&Seen) -> bool + Send + use<> {
    let request = Endpoint::new("http://x")
        .basic(user.0, user.1)
        .request(Method::GET, "/", &[], "");
    let theirs = request.headers()["authorization"].to_str().unwrap().to_owned();
    move |seen| seen.authorization() == Some(&theirs)
}

#[tokio::test]
async fn challenges_reach_the_caller_byte_for_byte() {
    for program in Program::ALL {
        let setup = Setup::new(program, &[]).await;
        let (straight, through) = (setup.straight.clone().anonymous(), setup.refshim.endpoint());
        let manifest = format!("/v2/app/manifests/{}", setup.image.digest);
        let referrers = setup.referrers();
        // Warm for somebody else: what is cached must not change what a stranger sees.
        setup.alice().get(&referrers).await.expect_status(200);
        for (asked, challenged) in [
            ("/v2/", "/v2/"),
            ("/v2/_catalog", "/v2/_catalog"),
            ("/v2/app/tags/list", "/v2/app/tags/list"),
            (&manifest, &manifest),
            // The registry has no such route and would not challenge: the right to list tags decides.
            (&referrers, "/v2/app/tags/list"),
        ] {
            let expected = straight.get(challenged).await.expect_status(401);
            let reply = through.get(asked).await;
            assert_eq!(
                (reply.status, &reply.body),
                (401, &expected.body),
                "{program:?} {asked}"
            );
            let challenges =
                |reply: &Reply| -> Vec<_> { reply.headers.get_all("www-authenticate").iter().cloned().collect() };
            assert_eq!(challenges(&reply), challenges(&expected), "{program:?} {asked}");
            assert_eq!(reply.header("content-type"), expected.header("content-type"));
        }
    }
}

#[tokio::test]
async fn a_cached_answer_never_crosses_users() {
    for program in Program::ALL {
        let setup = Setup::new(program, &[]).await;
        // This registry lets every user read everything; the link refuses bob as one with repositories of one's own would.
        let denied = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
        let by_bob = is_by(BOB);
        let refusal = Fault::answer(403, &[("content-type", "application/json")], denied);
        setup
            .link
            .fail(refusal, move |seen| by_bob(seen) && seen.path.contains("/app/"));

        assert_eq!(setup.alice().referrers("app", &setup.image.digest).await.len(), 1);
        for _ in 0..2 {
            let reply = setup.bob().get(&setup.referrers()).await;
            assert_eq!((reply.status, reply.text().as_str()), (403, denied), "{program:?}");
            setup
                .refshim
                .endpoint()
                .get(&setup.referrers())
                .await
                .expect_status(401);
            let forged = setup.refshim.endpoint().basic(ALICE.0, "guessed");
            forged.get(&setup.referrers()).await.expect_status(401);
            assert_eq!(setup.alice().referrers("app", &setup.image.digest).await.len(), 1);
        }
    }
}

/// A refused caller whose question coincides with an allowed one's gets a refusal, and the allowed one gets the list.
#[tokio::test]
async fn questions_at_once_are_not_answered_by_each_others_rights() {
    for (refused_first, of_tags) in [(true, false), (false, false), (true, true), (false, true)] {
        let setup = Setup::new(Program::V2, &[]).await;
        let gate = setup.link.hold(|seen| seen.path.contains("/tags/list"));
        let path = match of_tags {
            true => "/v2/app/tags/list".to_owned(),
            false => setup.referrers(),
        };
        let ask = |endpoint: Endpoint| {
            let path = path.clone();
            tokio::spawn(async move { endpoint.get(&path).await.status })
        };
        let (stranger, alice);
        if refused_first {
            stranger = ask(setup.refshim.endpoint());
            gate.reached_by(1).await;
            alice = ask(setup.alice());
        } else {
            alice = ask(setup.alice());
            gate.reached_by(1).await;
            stranger = ask(setup.refshim.endpoint());
        }
        // The second one's question has come as far as it can: it joined the first one's, or it is at the gate too.
        eventually("both are under way", async || {
            (setup.refshim.metric("requests_in_flight").await == Some(2.0)).then_some(())
        })
        .await;
        gate.open();
        assert_eq!(
            (stranger.await.unwrap(), alice.await.unwrap()),
            (401, 200),
            "{path}, refused first: {refused_first}"
        );
    }
}

/// The same of the tag list itself, while another caller's listing is under way and nothing is remembered.
#[tokio::test]
async fn tags_listed_for_one_caller_are_not_shown_to_another() {
    let setup = Setup::new(Program::V2, &[]).await;
    let by_alice = is_by(ALICE);
    let gate = setup
        .link
        .hold(move |seen| seen.path.contains("/tags/list") && by_alice(seen));
    let ask = |endpoint: Endpoint| tokio::spawn(async move { endpoint.get("/v2/app/tags/list").await.status });
    let alice = ask(setup.alice());
    gate.reached_by(1).await;
    let stranger = ask(setup.refshim.endpoint());
    // Meanwhile the stranger's question most probably joins the listing.
    setup.refshim.endpoint().get("/v2/").await.expect_status(401);
    gate.open();
    assert_eq!((stranger.await.unwrap(), alice.await.unwrap()), (401, 200));
}

/// A push that the registry refuses opens nothing.
#[tokio::test]
async fn whoever_may_not_push_may_not_read_for_having_tried() {
    let setup = Setup::new(Program::V2, &[]).await;
    setup.alice().get(&setup.referrers()).await.expect_status(200);
    let manifest = format!("/v2/app/manifests/{}", setup.image.digest);
    let accept = [("accept", ANY)];
    setup.alice().get_with(&manifest, &accept).await.expect_status(200);
    let stranger = setup.refshim.endpoint();
    stranger.put_bytes("app", "v2", &setup.image).await.expect_status(401);
    for path in [&setup.referrers(), &manifest, "/v2/app/tags/list"] {
        stranger.get(path).await.expect_status(401);
    }
}

#[tokio::test]
async fn every_request_upstream_carries_the_callers_own_credentials() {
    let setup = Setup::new(Program::V2, &[("REFSHIM_CACHE__FRESH_FOR", "0s")]).await;
    setup.link.take();
    setup.alice().referrers("app", &setup.image.digest).await;
    let seen = setup.link.requests();
    assert!(!seen.is_empty() && seen.iter().all(is_by(ALICE)), "{seen:?}");
    setup.link.take();
    setup.bob().referrers("app", &setup.image.digest).await;
    let seen = setup.link.requests();
    assert!(!seen.is_empty() && seen.iter().all(is_by(BOB)), "{seen:?}");
}

/// A caller whom the upstream let in is asked for again after `access_for`: a revoked credential ends.
#[tokio::test]
async fn a_revoked_credential_ends() {
    let setup = Setup::new(Program::V2, &[("REFSHIM_CACHE__ACCESS_FOR", "0s")]).await;
    setup.alice().get(&setup.referrers()).await.expect_status(200);
    setup.link.fail(
        Fault::answer(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
        is_by(ALICE),
    );
    setup.alice().get(&setup.referrers()).await.expect_status(401);
    assert_eq!(setup.bob().referrers("app", &setup.image.digest).await.len(), 1);
}

#[tokio::test]
async fn a_callers_right_is_asked_once_and_remembered() {
    let setup = Setup::new(
        Program::V2,
        &[("REFSHIM_LINKS__SOURCES", "subject,proposal-d-tag,cosign-tag")],
    )
    .await;
    setup.alice().referrers("app", &setup.image.digest).await;
    setup.bob().referrers("app", &setup.image.digest).await;
    let by_bob = setup.link.count(is_by(BOB));
    assert_eq!(
        by_bob, 2,
        "the list is cached: only bob's right is asked for, and what is listed to bob"
    );
    setup.link.take();
    setup.bob().referrers("app", &setup.image.digest).await;
    assert_eq!(setup.link.take(), [] as [String; 0]);
}

/// Refused part-way is refused: a list without what the caller may not read would be a wrong list.
#[tokio::test]
async fn a_refusal_in_the_middle_of_a_scan_is_the_answer() {
    let setup = Setup::new(Program::V2, &[]).await;
    let listed = setup.straight.push_artifact("app", &setup.image, TYPE, "listed").await;
    let stored = index([listed.descriptor()]);
    setup
        .straight
        .put_manifest("app", &setup.image.referrers_tag(), INDEX, &stored)
        .await;
    let denied = r#"{"errors":[{"code":"DENIED","message":"no"}]}"#;
    setup.link.fail(
        Fault::answer(403, &[("content-type", "application/json")], denied),
        |seen| seen.path.contains("/manifests/sha256"),
    );
    let reply = setup.alice().get(&setup.referrers()).await;
    assert_eq!((reply.status, reply.text().as_str()), (403, denied));
}
