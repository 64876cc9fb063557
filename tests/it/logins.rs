//! Promise: The subcommands log in as `serve` does: with passwords or identity tokens, of Docker's file or its helpers, for as long as
//! the work lasts; whoever is not let in is told what to do.

use std::os::unix::fs::PermissionsExt as _;

use http::Method;
use serde_json::{Value, json};

use crate::support::cli::{Ended, refshim_of};
use crate::support::fake::{Fake, Trouble, profiles};
use crate::support::tokens::TokenService;
use crate::support::{CountingProxy, Endpoint, Fault, Program, Pushed, Registry, Tools};

const APP: &str = "o/app";
const ROBOT: (&str, &str) = ("robot", "beep");
const SCOPE: &str = "repository:o/app:pull,push,delete";
const SPDX: &str = "application/spdx+json";

/// A registry that believes tokens alone; the robot may do everything in one repository.
async fn guarded(program: Program) -> (TokenService, Registry) {
    let tokens = TokenService::start().await;
    tokens.allow(Some(ROBOT), APP, &["pull", "push", "delete"]);
    let registry = tokens.guard(Registry::builder(program)).start().await;
    (tokens, registry)
}

/// The robot at the registry itself.
fn robot(tokens: &TokenService, registry: &Registry) -> Endpoint {
    let token = tokens.bearer(Some(ROBOT), SCOPE, 300);
    registry.endpoint().authorization(&token)
}

/// Logs in with an identity token, as a login in a browser leaves it in Docker's file.
fn log_in_by_file(tools: &Tools, authority: &str, identity: &str) {
    let config = json!({"auths": {authority: {"auth": "PHRva2VuPjo=", "identitytoken": identity}}});
    std::fs::create_dir_all(tools.folder().join(".docker")).unwrap();
    tools.file(".docker/config.json", config.to_string());
}

/// The same, kept by a credential helper.
fn log_in_by_helper(tools: &Tools, authority: &str, identity: &str) {
    let script = format!("#!/bin/sh\nread host\necho '{{\"Username\":\"<token>\",\"Secret\":\"'{identity}'\"}}'\n");
    tools.file("docker-credential-tests", script);
    let helper = tools.folder().join("docker-credential-tests");
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir_all(tools.folder().join(".docker")).unwrap();
    let config = json!({"credHelpers": {authority: "tests"}});
    tools.file(".docker/config.json", config.to_string());
}

/// An image with an SBOM under a Proposal D tag and a cosign signature, and the cosign signature of an image that is gone.
struct Filled {
    image: Pushed,
    sbom: Pushed,
    dead_tag: String,
}

async fn fill(robot: &Endpoint) -> Filled {
    let image = robot.push_image(APP, "v1", "one").await;
    let sbom = robot.push_artifact(APP, &image, SPDX, "sbom").await;
    robot.put_tag(APP, &sbom.proposal_d_tag(&image, "sbom"), &sbom).await;
    let gone = robot.push_image(APP, "v0", "gone").await;
    let dead_tag = format!("{}.sig", gone.referrers_tag());
    robot.push_image(APP, &dead_tag, "signature").await;
    let path = format!("/v2/{APP}/manifests/{}", gone.digest);
    robot.delete(&path).await.expect_status(202);
    Filled { image, sbom, dead_tag }
}

async fn tags(robot: &Endpoint) -> Vec<Value> {
    let reply = robot.get(&format!("/v2/{APP}/tags/list")).await.expect_status(200);
    reply.json()["tags"].as_array().unwrap().clone()
}

/// A registry with something in it, and a home whose owner is logged in there with an identity token.
struct Scene {
    authority: String,
    robot: Endpoint,
    filled: Filled,
    tools: Tools,
    _tokens: TokenService,
    _registry: Registry,
}

impl Scene {
    async fn new(program: Program, log_in: impl Fn(&Tools, &str, &str)) -> Self {
        let (tokens, registry) = guarded(program).await;
        let robot = robot(&tokens, &registry);
        let (filled, tools) = (fill(&robot).await, Tools::new());
        log_in(&tools, &registry.authority(), &tokens.identity(ROBOT));
        Self {
            authority: registry.authority(),
            robot,
            filled,
            tools,
            _tokens: tokens,
            _registry: registry,
        }
    }

    fn repository(&self) -> String {
        format!("{}/{APP}", self.authority)
    }

    fn image(&self) -> String {
        format!("{}:v1", self.repository())
    }

    async fn referrers(&self) {
        let listed = refshim_of(&self.tools, &["referrers", &self.image(), "--output", "json"]).await;
        assert_eq!(listed.json()["referrers"][0]["digest"], json!(self.filled.sbom.digest));
    }

    async fn tree(&self) {
        let tree = refshim_of(&self.tools, &["tree", &self.image()]).await.ok();
        let (image, sbom) = (&self.filled.image.digest, &self.filled.sbom.digest);
        assert!(tree.contains(image) && tree.contains(sbom), "{tree}");
    }

    async fn gc(&self) {
        let keep = refshim_of(&self.tools, &["gc", &self.repository(), "--keep-list"])
            .await
            .ok();
        assert!(keep.contains(&self.filled.sbom.digest), "{keep}");
        let repository = self.repository();
        refshim_of(&self.tools, &["gc", &repository, "--delete"]).await.ok();
        assert!(!tags(&self.robot).await.contains(&json!(self.filled.dead_tag)));
    }

    async fn materialize(&self) {
        let image = self.image();
        let arguments = ["materialize", &image, "--as", "referrers-tag", "--apply"];
        refshim_of(&self.tools, &arguments).await.ok();
        let written = json!(self.filled.image.referrers_tag());
        assert!(tags(&self.robot).await.contains(&written));
    }

    async fn check(&self) {
        let url = format!("http://{}", self.authority);
        let arguments = ["check", "--upstream", &url, "--repository", APP, "--output", "json"];
        let report = refshim_of(&self.tools, &arguments).await.json();
        assert_eq!(report["upstreams"][0]["loginOutcome"], "accepted", "{report}");
        assert_eq!(
            report["upstreams"][0]["tags"]["count"],
            tags(&self.robot).await.len(),
            "{report}"
        );
    }
}

#[tokio::test]
async fn referrers_exchanges_an_identity_token() {
    Scene::new(Program::V3, log_in_by_file).await.referrers().await;
}

#[tokio::test]
async fn tree_exchanges_an_identity_token() {
    Scene::new(Program::V3, log_in_by_helper).await.tree().await;
}

#[tokio::test]
async fn gc_exchanges_an_identity_token() {
    for program in Program::ALL {
        Scene::new(program, log_in_by_file).await.gc().await;
    }
}

#[tokio::test]
async fn materialize_exchanges_an_identity_token() {
    for program in Program::ALL {
        Scene::new(program, log_in_by_helper).await.materialize().await;
    }
}

#[tokio::test]
async fn check_exchanges_an_identity_token() {
    Scene::new(Program::V3, log_in_by_file).await.check().await;
}

#[tokio::test]
async fn passwords_are_shown_to_the_token_endpoint_by_every_subcommand() {
    let log_in = |tools: &Tools, authority: &str, _: &str| tools.log_in(authority, ROBOT.0, ROBOT.1);
    let scene = Scene::new(Program::V3, log_in).await;
    scene.referrers().await;
    scene.tree().await;
    scene.gc().await;
    scene.materialize().await;
    scene.check().await;
}

/// On the user's own machine nobody is protected from it: `docker pull` asks such a realm too.
#[tokio::test]
async fn a_token_endpoint_may_be_on_a_private_address() {
    let (tokens, registry) = guarded(Program::V3).await;
    let filled = fill(&robot(&tokens, &registry)).await;
    // Another name than the realm's, 127.0.0.1.
    let authority = registry.authority().replace("127.0.0.1", "localhost");
    let tools = Tools::new();
    tools.log_in(&authority, ROBOT.0, ROBOT.1);
    let tree = refshim_of(&tools, &["tree", &format!("{authority}/{APP}:v1")])
        .await
        .ok();
    assert!(tree.contains(&filled.sbom.digest), "{tree}");
}

#[tokio::test]
async fn a_token_that_ends_during_the_work_is_fetched_again() {
    let (tokens, registry) = guarded(Program::V3).await;
    let robot = registry
        .endpoint()
        .authorization(&tokens.bearer(Some(ROBOT), SCOPE, 300));
    let filled = fill(&robot).await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let authority = Endpoint::new(link.url()).authority().to_owned();
    let tools = Tools::new();
    tools.log_in(&authority, ROBOT.0, ROBOT.1);
    let challenge = format!("Bearer realm=\"{}\",service=\"registry.tests\"", tokens.realm());
    let ended = || Fault::answer(401, &[("www-authenticate", &challenge)], "");
    link.fail_times(1, ended(), |seen| seen.path.contains("/tags/list"));
    link.fail_times(1, ended(), |seen| seen.method == Method::DELETE);
    refshim_of(&tools, &["gc", &format!("{authority}/{APP}"), "--delete"])
        .await
        .ok();
    assert!(!tags(&robot).await.contains(&json!(filled.dead_tag)));
}

/// What a run says whose user is not let in; never a secret.
fn said(ended: Ended, identity: &str) -> String {
    let error = ended.refused(1);
    assert!(!error.contains(identity), "{error}");
    error
}

#[tokio::test]
async fn whoever_is_not_let_in_is_told_what_to_do() {
    let (tokens, registry) = guarded(Program::V3).await;
    let (authority, tools) = (registry.authority(), Tools::new());
    let image = format!("{authority}/{APP}:v1");
    // One that was withdrawn.
    log_in_by_file(&tools, &authority, "withdrawn");
    let error = said(refshim_of(&tools, &["referrers", &image]).await, "withdrawn");
    let (realm, advice) = (tokens.realm(), format!("run 'docker login {authority}' again"));
    assert!(
        error.contains(&realm) && error.contains("HTTP 401") && error.contains(&advice),
        "{error}"
    );
    // Somebody who never logged in is given a token for nothing.
    let error = said(refshim_of(&Tools::new(), &["tree", &image]).await, "withdrawn");
    assert!(error.contains("HTTP 401") && error.contains("docker login"), "{error}");

    // Where there is no token endpoint, an identity token is of no use.
    let by_password = Registry::builder(Program::V2).users(&[ROBOT]).start().await;
    let authority = by_password.authority();
    log_in_by_file(&tools, &authority, "identity");
    for arguments in [
        &["referrers", &format!("{authority}/{APP}:v1")][..],
        &["gc", &format!("{authority}/{APP}")],
    ] {
        let error = said(refshim_of(&tools, arguments).await, "PHRva2VuPjo=");
        let advice = format!("run 'docker login {authority}' with a user and a password");
        assert!(error.contains("identity token") && error.contains(&advice), "{error}");
    }
}

#[tokio::test]
async fn a_scheme_that_refshim_does_not_know_is_named() {
    let fake = Fake::start(profiles::ghcr()).await;
    let challenge = [("www-authenticate", "Negotiate")];
    fake.trouble(Trouble::answer(401, &challenge, ""), |seen| {
        seen.path.starts_with("/v2/")
    });
    let authority = fake.endpoint().authority().to_owned();
    let (tools, image) = (Tools::new(), format!("{authority}/{APP}:v1"));
    tools.log_in(&authority, ROBOT.0, ROBOT.1);
    let error = refshim_of(&tools, &["referrers", &image]).await.refused(1);
    assert!(
        error.contains("Negotiate") && error.contains("Basic and Bearer"),
        "{error}"
    );
}

/// Otherwise as many refusals as there are dead tags would come of a login that has not the right to delete.
#[tokio::test]
async fn a_deletion_that_the_login_does_not_suffice_for_ends_the_work() {
    let (tokens, registry) = guarded(Program::V3).await;
    let robot = registry
        .endpoint()
        .authorization(&tokens.bearer(Some(ROBOT), SCOPE, 300));
    let filled = fill(&robot).await;
    tokens.allow(Some(ROBOT), APP, &["pull", "push"]);
    let (authority, tools) = (registry.authority(), Tools::new());
    tools.log_in(&authority, ROBOT.0, ROBOT.1);
    let error = refshim_of(&tools, &["gc", &format!("{authority}/{APP}"), "--delete"])
        .await
        .refused(1);
    assert!(
        error.contains("HTTP 401") && error.contains("log in with 'docker login'"),
        "{error}"
    );
    assert!(tags(&robot).await.contains(&json!(filled.dead_tag)));
}
