//! A registry that believes a token server: users with repositories of their own, tokens that end.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;

use crate::support::content::{ANY, IMAGE};
use crate::support::tokens::{TokenService, User};
use crate::support::{CountingProxy, Endpoint, Fault, Program, Pushed, Refshim, Registry, Seen, Tools, eventually};

const TYPE: &str = "application/vnd.acme.sbom.v1+json";
const ALICE: User = ("alice", "alices-password");
const BOB: User = ("bob", "bobs-password");
const EVERYBODY: [Option<User>; 3] = [Some(ALICE), Some(BOB), None];
/// Repositories, and who may read them.
const REPOSITORIES: [(&str, &[Option<User>]); 4] = [
    ("alices/app", &[Some(ALICE)]),
    ("bobs/app", &[Some(BOB)]),
    ("team/app", &[Some(ALICE), Some(BOB)]),
    ("public/app", &[None]),
];

struct Setup {
    tokens: TokenService,
    registry: Registry,
    link: CountingProxy,
    refshim: Refshim,
    /// In every repository the same, with one referrer.
    image: Pushed,
    referrer: Pushed,
}

impl Setup {
    async fn new(program: Program, environment: &[(&str, &str)]) -> Self {
        let tokens = TokenService::start().await;
        for (repository, readers) in REPOSITORIES {
            for reader in readers {
                tokens.allow(*reader, repository, &["pull"]);
            }
            tokens.allow(Some(("admin", "x")), repository, &["pull", "push", "delete"]);
        }
        let registry = tokens.guard(Registry::builder(program)).start().await;
        let link = CountingProxy::in_front_of(&registry.url()).await;
        let mut builder = Refshim::builder(link.url());
        for (name, value) in environment {
            builder = builder.env(name, value);
        }
        let refshim = builder.start().await;
        let mut pushed = None;
        for (repository, _) in REPOSITORIES {
            let scope = format!("repository:{repository}:pull,push");
            let admin = tokens.bearer(Some(("admin", "x")), &scope, 300);
            let straight = registry.endpoint().authorization(&admin);
            let image = straight.push_image(repository, "v1", "image").await;
            let referrer = straight.attach(repository, &image, TYPE, "sbom").await;
            pushed = Some((image, referrer));
        }
        let (image, referrer) = pushed.expect("there are repositories");
        Self {
            tokens,
            registry,
            link,
            refshim,
            image,
            referrer,
        }
    }

    /// What a client of `user` sends to read `repository`.
    fn pull(&self, user: Option<User>, repository: &str) -> String {
        self.tokens.bearer(user, &format!("repository:{repository}:pull"), 300)
    }

    fn through(&self, bearer: &str) -> Endpoint {
        self.refshim.endpoint().authorization(bearer)
    }

    fn straight(&self, bearer: &str) -> Endpoint {
        self.registry.endpoint().authorization(bearer)
    }

    fn referrers(&self, repository: &str) -> String {
        format!("/v2/{repository}/referrers/{}", self.image.digest)
    }

    /// Every way to see something of a repository.
    fn paths(&self, repository: &str) -> Vec<String> {
        let (image, referrer) = (&self.image.digest, &self.referrer.digest);
        let config = refshim::testing::oci::Digest::sha256(b"{}");
        vec![
            self.referrers(repository),
            format!("/v2/{repository}/_oci/artifacts/referrers?digest={image}"),
            format!("/v2/{repository}/_oras/artifacts/referrers?digest={image}"),
            format!("/oras/artifacts/v1/{repository}/manifests/{image}/referrers"),
            format!("/v2/{repository}/manifests/{image}/references"),
            format!("/v3/{repository}/referrers/{image}"),
            format!("/v3/{repository}/reference/v1"),
            format!("/v2/{repository}/tags/list"),
            format!("/v2/{repository}/manifests/v1"),
            format!("/v2/{repository}/manifests/{referrer}"),
            // Synthesised.
            format!("/v2/{repository}/manifests/{}", self.image.referrers_tag()),
            format!("/v2/{repository}/blobs/{config}"),
        ]
    }

    /// Asks for everything as `bearer` and expects what the registry says of such a caller.
    async fn expect_only_rights(&self, bearer: &str, repository: &str, case: &str) {
        let listing = format!("/v2/{repository}/tags/list");
        let allowed = self.straight(bearer).get(&listing).await.status == 200;
        for path in self.paths(repository) {
            let reply = self.through(bearer).get_with(&path, &[("accept", ANY)]).await;
            if allowed {
                assert_eq!(reply.status, 200, "{case}: {path}: {reply:?}");
                continue;
            }
            assert_eq!(reply.status, 401, "{case}: {path}: {reply:?}");
            let challenge = reply.header("www-authenticate").unwrap_or_default();
            assert!(
                challenge.contains(&format!("repository:{repository}:pull")),
                "{case}: {reply:?}"
            );
            let (image, referrer) = (&self.image.digest, &self.referrer.digest);
            assert!(
                !reply.text().contains(image) && !reply.text().contains(referrer),
                "{case}: {reply:?}"
            );
            self.expect_no_hints(bearer, &path, case).await;
        }
    }

    /// Neither conditions nor parts, nor heads alone, tell what a refused caller may not see.
    async fn expect_no_hints(&self, bearer: &str, path: &str, case: &str) {
        let etag = format!("\"{}\", \"{}\"", self.image.digest, self.referrer.digest);
        for (name, value) in [("if-none-match", "*"), ("if-none-match", &etag), ("range", "bytes=0-0")] {
            let asked = [("accept", ANY), (name, value)];
            let reply = self.through(bearer).get_with(path, &asked).await;
            assert_eq!(reply.status, 401, "{case}: {path} with {name}: {value}: {reply:?}");
        }
        let head = self.through(bearer).head(path).await;
        let tells = ["etag", "docker-content-digest"].map(|name| head.header(name).is_some());
        assert_eq!((head.status, tells), (401, [false; 2]), "{case}: {path}: {head:?}");
    }
}

fn with(bearer: &str) -> impl Fn(&Seen) -> bool + Send + use<> {
    let bearer = bearer.to_owned();
    move |seen| seen.authorization() == Some(&bearer)
}

/// Everyone, everywhere, twice over: first while others have filled the cache, then when everyone has been here before.
#[tokio::test]
async fn cached_answers_never_cross_users() {
    for program in Program::ALL {
        let setup = Setup::new(program, &[]).await;
        for (repository, readers) in REPOSITORIES {
            let warm = setup.through(&setup.pull(readers[0], repository));
            for path in setup.paths(repository) {
                warm.get_with(&path, &[("accept", ANY)]).await.expect_status(200);
            }
        }
        for round in 0..2 {
            for user in EVERYBODY {
                for (repository, readers) in REPOSITORIES {
                    let bearer = setup.pull(user, repository);
                    let may = readers.contains(&user) || readers.contains(&None);
                    let seen = setup
                        .straight(&bearer)
                        .get(&format!("/v2/{repository}/tags/list"))
                        .await
                        .status;
                    assert_eq!(seen == 200, may, "the registry itself: {user:?} {repository}");
                    let case = format!("{program:?}, round {round}, {user:?}");
                    setup.expect_only_rights(&bearer, repository, &case).await;
                }
            }
        }
    }
}

/// A token says where it is good for; whose it is does not matter.
#[tokio::test]
async fn a_token_for_one_repository_opens_no_other() {
    let setup = Setup::new(Program::V3, &[]).await;
    for repository in ["alices/app", "team/app"] {
        let own = setup.pull(Some(ALICE), repository);
        setup
            .through(&own)
            .get(&setup.referrers(repository))
            .await
            .expect_status(200);
    }
    let narrow = setup.pull(Some(ALICE), "team/app");
    setup
        .expect_only_rights(&narrow, "alices/app", "a token for another repository")
        .await;
    setup
        .expect_only_rights(&narrow, "team/app", "a token for this repository")
        .await;
    let push_only = setup
        .tokens
        .bearer(Some(("admin", "x")), "repository:alices/app:push", 300);
    setup
        .expect_only_rights(&push_only, "alices/app", "a token for pushes")
        .await;
}

#[tokio::test]
async fn expired_and_forged_tokens_open_nothing() {
    for program in Program::ALL {
        let setup = Setup::new(program, &[]).await;
        let repository = "alices/app";
        let scope = format!("repository:{repository}:pull");
        let good = setup.pull(Some(ALICE), repository);
        setup.expect_only_rights(&good, repository, "good").await;
        // Distribution itself looks away for a minute.
        let expired = setup.tokens.bearer(Some(ALICE), &scope, -3600);
        setup.expect_only_rights(&expired, repository, "expired").await;
        let other_server = TokenService::start().await;
        other_server.allow(Some(ALICE), repository, &["pull"]);
        let forged = other_server.bearer(Some(ALICE), &scope, 300);
        setup.expect_only_rights(&forged, repository, "forged").await;
        // The right claims under a signature that is not theirs.
        let (head, _) = good.rsplit_once('.').unwrap();
        let (_, signature) = expired.rsplit_once('.').unwrap();
        setup
            .expect_only_rights(&format!("{head}.{signature}"), repository, "swapped")
            .await;
        for nonsense in ["Bearer", "Bearer ", "Bearer a.b.c", "bearer x", "Basic !", "Digest x"] {
            setup.expect_only_rights(nonsense, repository, nonsense).await;
        }
    }
}

/// The registry would be asked again after a minute; a token that ends earlier is worth nothing from then on.
#[tokio::test]
async fn a_permission_ends_with_its_token() {
    let setup = Setup::new(Program::V2, &[]).await;
    let begun = Instant::now();
    let bearer = setup.tokens.bearer(Some(ALICE), "repository:alices/app:pull", 3);
    let (endpoint, path) = (setup.through(&bearer), setup.referrers("alices/app"));
    endpoint.get(&path).await.expect_status(200);
    // Distribution looks away for a minute after the end; this registry does not.
    let challenge = [("www-authenticate", "Bearer realm=\"x\"")];
    setup.link.fail(Fault::answer(401, &challenge, ""), with(&bearer));
    eventually("the end of the token", async || {
        (endpoint.get(&path).await.status == 401).then_some(())
    })
    .await;
    assert!(
        begun.elapsed() < Duration::from_secs(50),
        "that was the end of the minute"
    );
}

/// Whoever loses a right keeps the tokens that are out; whoever loses the registry's trust loses all.
#[tokio::test]
async fn revoked_tokens_open_nothing_for_longer_than_they_are_remembered() {
    let mut setup = Setup::new(Program::V2, &[("REFSHIM_CACHE__ACCESS_FOR", "1s")]).await;
    let repository = "alices/app";
    let path = setup.referrers(repository);
    let before = setup.pull(Some(ALICE), repository);
    setup.through(&before).get(&path).await.expect_status(200);

    setup.tokens.revoke(Some(ALICE), repository);
    let after = setup.pull(Some(ALICE), repository);
    setup
        .expect_only_rights(&after, repository, "a token after the right was taken")
        .await;

    setup.tokens.rotate();
    setup.registry.restart().await;
    eventually("the old token is worth nothing", async || {
        (setup.through(&before).get(&path).await.status == 401).then_some(())
    })
    .await;
    setup
        .expect_only_rights(&before, repository, "a token of the old key")
        .await;
}

/// A refusal on any path ends what was remembered, on all paths.
#[tokio::test]
async fn a_refusal_that_passes_through_ends_the_permission() {
    let setup = Setup::new(Program::V2, &[]).await;
    let bearer = setup.pull(Some(ALICE), "alices/app");
    let (endpoint, path) = (setup.through(&bearer), setup.referrers("alices/app"));
    endpoint.get(&path).await.expect_status(200);
    setup.link.fail(
        Fault::answer(401, &[("www-authenticate", "Bearer realm=\"x\"")], ""),
        with(&bearer),
    );
    // Remembered still, and nothing has told otherwise.
    endpoint.get(&path).await.expect_status(200);
    endpoint.get("/v2/alices/app/manifests/v1").await.expect_status(401);
    endpoint.get(&path).await.expect_status(401);
}

/// Whatever a refused caller tried, it may read no more than before.
#[tokio::test]
async fn a_refused_write_is_no_permission() {
    for program in Program::ALL {
        let setup = Setup::new(program, &[]).await;
        let repository = "alices/app";
        let path = setup.referrers(repository);
        let warm = setup.through(&setup.pull(Some(ALICE), repository));
        warm.get(&path).await.expect_status(200);
        let bob = setup.pull(Some(BOB), repository);
        let manifest = |reference: &str| format!("/v2/{repository}/manifests/{reference}");
        let json = [("content-type", IMAGE)];
        let writes = [
            (Method::PUT, manifest("v1"), Bytes::clone(&setup.image.bytes)),
            (
                Method::PUT,
                manifest(&setup.referrer.digest),
                setup.referrer.bytes.clone(),
            ),
            (Method::PUT, manifest("v2"), "{}".into()),
            (Method::DELETE, manifest(&setup.image.digest), "".into()),
            (Method::DELETE, manifest("v1"), "".into()),
            (Method::POST, format!("/v2/{repository}/blobs/uploads/"), "".into()),
        ];
        for (method, target, body) in writes {
            // Each way to read is the first one after the write: a refused read would set right what the write got wrong.
            for read in setup.paths(repository) {
                let reply = setup
                    .through(&bob)
                    .send(method.clone(), &target, &json, body.clone())
                    .await;
                assert_eq!(reply.status, 401, "{program:?}: {method} {target}: {reply:?}");
                setup.link.take();
                warm.get(&path).await.expect_status(200);
                assert_eq!(
                    setup.link.take(),
                    [] as [String; 0],
                    "what others are told is fresh still"
                );
                let reply = setup.through(&bob).get_with(&read, &[("accept", ANY)]).await;
                assert_eq!(
                    reply.status, 401,
                    "{program:?}: {read} after {method} {target}: {reply:?}"
                );
            }
        }
        assert_eq!(warm.referrers(repository, &setup.image.digest).await.len(), 1);
    }
}

/// One question per repository and credential, however many answers are given from the cache.
#[tokio::test]
async fn a_right_is_asked_for_once() {
    for program in Program::ALL {
        let settings = [
            ("REFSHIM_CACHE__FRESH_FOR", "1h"),
            ("REFSHIM_LINKS__SOURCES", "subject,proposal-d-tag,cosign-tag"),
        ];
        let setup = Setup::new(program, &settings).await;
        let of_alice = setup.pull(Some(ALICE), "team/app");
        let of_bob = setup.pull(Some(BOB), "team/app");
        let path = setup.referrers("team/app");
        let manifest = format!("/v2/team/app/manifests/{}", setup.referrer.digest);
        let accept = [("accept", ANY)];
        for path in [&path, &manifest] {
            setup
                .through(&of_alice)
                .get_with(path, &accept)
                .await
                .expect_status(200);
        }
        setup.link.take();
        for _ in 0..5 {
            for bearer in [&of_bob, &of_alice] {
                for path in [&path, &manifest] {
                    setup.through(bearer).get_with(path, &accept).await.expect_status(200);
                }
            }
        }
        let asked = setup.link.requests();
        // A right, and what is listed to its holder.
        assert_eq!(asked.len(), 2, "{program:?}: {asked:?}");
        assert!(asked.iter().all(with(&of_bob)), "{program:?}: {asked:?}");

        // Crowds ask no more often than one.
        let again = setup.pull(Some(BOB), "team/app");
        setup.link.take();
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (endpoint, path) = (setup.through(&again), path.clone());
            crowd.spawn(async move { endpoint.get(&path).await.status });
        }
        assert!(crowd.join_all().await.iter().all(|status| *status == 200));
        assert_eq!(setup.link.take().len(), 2, "{program:?}");
    }
}

/// Real clients, from the challenge that refshim relays to the list.
#[tokio::test]
async fn clients_fetch_tokens_by_the_challenges_that_are_relayed() {
    let setup = Setup::new(Program::V3, &[]).await;
    let endpoint = setup.refshim.endpoint();
    for (user, may) in [(Some(ALICE), true), (Some(BOB), false), (None, false)] {
        let tools = Tools::new();
        if let Some((name, password)) = user {
            tools.log_in(endpoint.authority(), name, password);
        }
        let image = endpoint.image("alices/app", &setup.image.digest);
        for _ in 0..2 {
            let discovered = tools
                .oras(&["discover", "--plain-http", "--format", "json", &image])
                .await;
            assert_eq!(discovered.success, may, "{user:?}: {discovered:?}");
            assert_eq!(
                discovered.stdout.contains(&setup.referrer.digest),
                may,
                "{user:?}: {discovered:?}"
            );
            let listed = tools.regctl(endpoint.authority(), &["artifact", "list", &image]).await;
            assert_eq!(
                listed.stdout.contains(&setup.referrer.digest),
                may,
                "{user:?}: {listed:?}"
            );
        }
    }
}
