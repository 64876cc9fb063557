//! Promise: refshim can bring credentials of its own to a registry, keeps them to itself, and is no open door with them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::support;
use std::path::Path;
use std::process::Command;

use crate::support::cli::refshim;
use crate::support::content::ANY;
use crate::support::fake::{Fake, Knobs, Trouble};
use crate::support::tokens::TokenService;
use crate::support::{CountingProxy, Endpoint, Local, Program, Refshim, Registry, Tools, eventually};
use bytes::Bytes;
use http::Method;
use refshim::testing::config::{Config, CredentialsConfig, CredentialsKind, UpstreamConfig};
use refshim::testing::registry::RequestKind;

const APP: &str = "o/app";
const ROBOT: (&str, &str) = ("robot", "beep");

/// A registry that lets only the robot in.
async fn guarded() -> Registry {
    Registry::builder(Program::V2).users(&[ROBOT]).start().await
}

fn robot(folder: &Path) -> CredentialsConfig {
    let file = folder.join("password");
    std::fs::write(&file, format!("{}\n", ROBOT.1)).unwrap();
    CredentialsConfig {
        kind: CredentialsKind::Static,
        username: Some(ROBOT.0.to_owned()),
        password_file: Some(file),
        ..CredentialsConfig::default()
    }
}

fn basic(user: &str, password: &str) -> String {
    refshim::testing::auth::basic(user, password)
}

/// How often a token or a challenge was fetched.
fn tokens_fetched(proxy: &Local) -> u64 {
    let counts = proxy.upstream().requests().iter();
    counts
        .filter(|((kind, _), _)| *kind == RequestKind::Token)
        .map(|(_, count)| count.get())
        .sum()
}

#[tokio::test]
async fn callers_need_none_and_theirs_stay_here() {
    let registry = guarded().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let credentials = robot(folder.path());
    let proxy = Local::configured(link.url(), |config| config.upstreams[0].credentials = credentials).await;
    let callers = [
        proxy.endpoint(),
        proxy.endpoint().basic("alice", "secret"),
        proxy.endpoint().authorization("Bearer x"),
    ];
    for (index, caller) in callers.iter().enumerate() {
        let image = caller.push_image(APP, &format!("v{index}"), &format!("i{index}")).await;
        let referrer = caller
            .push_artifact(APP, &image, "application/x", &format!("r{index}"))
            .await;
        assert_eq!(caller.referrer_digests(APP, &image.digest).await, [referrer.digest]);
        assert_eq!(caller.manifest(APP, &format!("v{index}")).await.body, image.bytes);
        caller.get("/v2/").await.expect_status(200);
        // A body that streams cannot be sent twice: it goes with the right credentials at once.
        caller.push_blob(APP, Bytes::from(vec![index as u8; 3 << 20])).await;
    }
    let own = basic(ROBOT.0, ROBOT.1);
    for seen in link.requests() {
        let is_challenge = seen.path == "/v2/" && seen.authorization().is_none();
        assert!(is_challenge || seen.authorization() == Some(&own), "{seen:?}");
    }
    assert_eq!(tokens_fetched(&proxy), 1, "the challenge is asked for once");
}

/// What the account of refshim's own may not read, its caller may still upload.
#[tokio::test]
async fn a_mount_that_they_do_not_suffice_for_begins_an_upload() {
    let fake = Fake::start(Knobs::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let (own, none) = (
        Local::configured(&fake.url(), |config| {
            config.upstreams[0].credentials = robot(folder.path())
        })
        .await,
        Refshim::in_front_of(&fake.url()).await,
    );
    let digest = refshim::testing::oci::Digest::sha256(b"{}");
    let mount = format!("/v2/{APP}/blobs/uploads/?mount={digest}&from=o/secret");
    for (status, code) in [(401, "UNAUTHORIZED"), (403, "DENIED"), (404, "NAME_UNKNOWN")] {
        fake.trouble(Trouble::oci(status, code, "not yours"), |seen| {
            seen.path.contains("from=o/secret")
        });
        let begun = own.endpoint().send(Method::POST, &mount, &[], Bytes::new()).await;
        let location = begun.expect_status(202).header("location").map(str::to_owned);
        let location = location.expect("a session");
        let separator = if location.contains('?') { '&' } else { '?' };
        let finish = format!("{location}{separator}digest={digest}");
        let finished = own.endpoint().send(Method::PUT, &finish, &[], "{}").await;
        finished.expect_status(201);
        // On the caller's own credentials the refusal is the caller's to hear.
        let refused = none.endpoint().send(Method::POST, &mount, &[], Bytes::new()).await;
        assert_eq!(refused.expect_status(status).error_code(), code);
        fake.heal();
    }
    // What keeps anybody from writing is no matter of the source.
    fake.trouble(Trouble::oci(403, "DENIED", "read only"), |seen| seen.method == "POST");
    let refused = own.endpoint().send(Method::POST, &mount, &[], Bytes::new()).await;
    assert_eq!(refused.expect_status(403).error_code(), "DENIED");
}

#[tokio::test]
async fn a_password_that_was_changed_is_read_again() {
    let registry = guarded().await;
    let folder = tempfile::tempdir().unwrap();
    let credentials = robot(folder.path());
    let file = credentials.password_file.clone().unwrap();
    std::fs::write(&file, "old").unwrap();
    let image = registry.endpoint().push_image(APP, "v1", "x").await;
    let proxy = Local::configured(&registry.url(), |config| config.upstreams[0].credentials = credentials).await;
    // A refusal of refshim's own credentials is nothing that the caller could answer, and never an empty list.
    for path in [
        format!("/v2/{APP}/manifests/v1"),
        format!("/v2/{APP}/referrers/{}", image.digest),
        format!("/v2/{APP}/tags/list"),
        format!("/v2/{APP}/blobs/{}", image.digest),
    ] {
        let refused = proxy.endpoint().get(&path).await.expect_status(403);
        assert_eq!(refused.header("www-authenticate"), None, "{path}");
    }
    let upload = format!("/v2/{APP}/blobs/uploads/");
    proxy
        .endpoint()
        .send(Method::POST, &upload, &[], "")
        .await
        .expect_status(403);
    std::fs::write(&file, ROBOT.1).unwrap();
    assert_eq!(
        proxy.endpoint().manifest(APP, "v1").await.expect_status(200).body,
        image.bytes
    );
}

#[tokio::test]
async fn tokens_are_fetched_once_for_each_scope() {
    for program in Program::ALL {
        let tokens = TokenService::start().await;
        tokens.allow(Some(ROBOT), APP, &["pull", "push", "delete"]);
        tokens.allow(Some(ROBOT), "o/base", &["pull", "push"]);
        let registry = tokens.guard(Registry::builder(program)).start().await;
        let folder = tempfile::tempdir().unwrap();
        let credentials = robot(folder.path());
        let proxy = Local::configured(&registry.url(), |config| config.upstreams[0].credentials = credentials).await;
        let caller = proxy.endpoint();
        let image = caller.push_image(APP, "v1", "x").await;
        let referrer = caller.push_artifact(APP, &image, "application/x", "r").await;
        for _ in 0..3 {
            assert_eq!(
                caller.referrer_digests(APP, &image.digest).await,
                std::slice::from_ref(&referrer.digest)
            );
            caller.manifest(APP, "v1").await.expect_status(200);
        }
        // The challenge, one token to push, one to pull.
        assert_eq!(tokens_fetched(&proxy), 3, "{program:?}");
        let blob = caller.push_blob("o/base", "shared").await;
        let mount = format!("/v2/{APP}/blobs/uploads/?mount={blob}&from=o/base");
        caller.send(Method::POST, &mount, &[], "").await.expect_status(201);
        caller
            .delete(&format!("/v2/{APP}/manifests/{}", referrer.digest))
            .await
            .expect_status(202);
        // A new key at the registry ends all tokens that there are.
        let mut registry = registry;
        tokens.rotate();
        registry.restart().await;
        assert_eq!(
            caller.referrer_digests(APP, &image.digest).await,
            [""; 0],
            "{program:?}"
        );
        caller.manifest(APP, "v1").await.expect_status(200);
        let elsewhere = caller.get("/v2/o/other/tags/list").await.expect_status(403);
        assert_eq!(elsewhere.header("www-authenticate"), None);
    }
}

/// Some registries hide from nobody in particular what an account may see. What they tell nobody is then no answer to refshim's.
#[tokio::test]
async fn refused_credentials_do_not_become_nobodys_view() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.endpoint().push_image(APP, "v1", "x").await;
    let realm = format!("Bearer realm=\"{}/token\",service=\"s\"", fake.url());
    let challenge = Trouble::answer(401, &[("www-authenticate", &realm)], "");
    fake.trouble(challenge, |seen| seen.path == "/v2/");
    fake.trouble(Trouble::oci(401, "UNAUTHORIZED", "who?"), |seen| {
        seen.path.starts_with("/token")
    });
    let folder = tempfile::tempdir().unwrap();
    let own = Local::configured(&fake.url(), |config| {
        config.upstreams[0].credentials = robot(folder.path());
    })
    .await;
    for path in [
        format!("/v2/{APP}/referrers/{}", image.digest),
        format!("/v2/{APP}/tags/list"),
        format!("/v2/{APP}/manifests/v1"),
    ] {
        let said = own.endpoint().get(&path).await.expect_status(502);
        assert!(said.text().contains("gives no token"), "{path}: {}", said.text());
    }
}

#[tokio::test]
async fn docker_logins_and_credential_helpers_are_used() {
    let registry = guarded().await;
    let image = registry.endpoint().push_image(APP, "v1", "x").await;
    let folder = tempfile::tempdir().unwrap();
    let helper = folder.path().join("docker-credential-tests");
    let script = format!(
        "#!/bin/sh\necho '{{\"Username\":\"{}\",\"Secret\":\"{}\"}}'\n",
        ROBOT.0, ROBOT.1
    );
    std::fs::write(&helper, script).unwrap();
    let executable = Command::new("chmod").arg("+x").arg(&helper).status();
    assert!(executable.unwrap().success());
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let auth = basic(ROBOT.0, ROBOT.1).replace("Basic ", "");
    let logins = serde_json::json!({"auths": {registry.authority(): {"auth": auth}}});
    let helpers = serde_json::json!({"credHelpers": {registry.authority(): "tests"}});
    for docker_config in [logins, helpers] {
        let file = folder.path().join("config.json");
        std::fs::write(&file, docker_config.to_string()).unwrap();
        let credentials = format!(
            "[upstream.credentials]\nkind = 'docker-config'\nfile = '{}'",
            file.display()
        );
        let config = format!("[[upstream]]\nurl = '{}'\n{credentials}", registry.url());
        let proxy = Refshim::bare().config(&config).env("PATH", &path).start().await;
        assert_eq!(
            proxy.endpoint().manifest(APP, "v1").await.body,
            image.bytes,
            "{docker_config}"
        );
    }
}

#[tokio::test]
async fn a_password_comes_from_the_environment() {
    let registry = guarded().await;
    let image = registry.endpoint().push_image(APP, "v1", "x").await;
    let proxy = Refshim::builder(&registry.url())
        .env("REFSHIM_UPSTREAM__0__CREDENTIALS__KIND", "static")
        .env("REFSHIM_UPSTREAM__0__CREDENTIALS__USERNAME", ROBOT.0)
        .env("REFSHIM_UPSTREAM__0__CREDENTIALS__PASSWORD", ROBOT.1)
        .env("REFSHIM_LOG__LEVEL", "trace")
        .start()
        .await;
    assert_eq!(proxy.endpoint().manifest(APP, "v1").await.body, image.bytes);
    let secret = basic(ROBOT.0, ROBOT.1).replace("Basic ", "");
    assert!(
        !proxy.output().contains(&secret) && !proxy.output().contains("\"beep\""),
        "{}",
        proxy.output()
    );
}

/// Users of refshim, as Apache's tool writes them.
fn htpasswd(file: &Path, user: &str, password: &str) {
    let written = Command::new("htpasswd")
        .args(["-nbB", user, password])
        .output()
        .unwrap();
    assert!(written.status.success());
    std::fs::write(file, written.stdout).unwrap();
}

#[tokio::test]
async fn only_users_of_refshim_use_its_credentials() {
    let registry = guarded().await;
    let image = registry.endpoint().push_image(APP, "v1", "x").await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let (credentials, users) = (robot(folder.path()), folder.path().join("htpasswd"));
    htpasswd(&users, "alice", "wonder");
    let proxy = Local::configured(link.url(), |config| {
        config.upstreams[0].credentials = credentials;
        config.server.auth.htpasswd_file = Some(users.clone());
    })
    .await;
    let alice = proxy.endpoint().basic("alice", "wonder");
    let referrers = format!("/v2/{APP}/referrers/{}", image.digest);
    let paths = [
        "/v2/".to_owned(),
        format!("/v2/{APP}/manifests/v1"),
        referrers,
        format!("/v2/{APP}/tags/list"),
    ];
    // Twice: what the cache knows by then is no more anybody's than before.
    for _ in 0..2 {
        for path in &paths {
            alice.get_with(path, &[("accept", ANY)]).await.expect_status(200);
            let strangers = [
                proxy.endpoint(),
                proxy.endpoint().basic("alice", "Wonder"),
                proxy.endpoint().basic("bob", "wonder"),
                proxy.endpoint().basic(ROBOT.0, ROBOT.1),
                proxy.endpoint().authorization("Bearer x"),
            ];
            let before = link.requests().len();
            for stranger in strangers {
                let refused = stranger.get(path).await.expect_status(401);
                assert_eq!(refused.error_code(), "UNAUTHORIZED");
                assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"refshim\""));
                let head = stranger.head(path).await;
                assert_eq!((head.status, head.body.len()), (401, 0));
            }
            assert_eq!(link.requests().len(), before, "strangers reach nothing");
        }
    }
    let sent = basic("alice", "wonder");
    assert!(link.requests().iter().all(|seen| seen.authorization() != Some(&sent)));
    htpasswd(&users, "bob", "builder");
    let bob = proxy.endpoint().basic("bob", "builder");
    eventually("the new user is let in", async || {
        (bob.get("/v2/").await.status == 200).then_some(())
    })
    .await;
    alice.get("/v2/").await.expect_status(401);
}

#[tokio::test]
async fn clients_log_in_to_refshim() {
    let registry = guarded().await;
    let image = registry.endpoint().push_image(APP, "v1", "x").await;
    let folder = tempfile::tempdir().unwrap();
    let (credentials, users) = (robot(folder.path()), folder.path().join("htpasswd"));
    htpasswd(&users, "alice", "wonder");
    let proxy = Local::configured(&registry.url(), |config| {
        config.upstreams[0].credentials = credentials;
        config.server.auth.htpasswd_file = Some(users.clone());
    })
    .await;
    let tools = Tools::new();
    let reference = format!("{}/{APP}:v1", proxy.authority());
    assert!(
        tools
            .crane(&["digest", &reference])
            .await
            .failed()
            .contains("UNAUTHORIZED")
    );
    tools.log_in(proxy.authority(), "alice", "wonder");
    assert_eq!(tools.crane(&["digest", &reference]).await.ok().trim(), image.digest);
    tools.file("sbom.json", "{}");
    let attach = [
        "attach",
        "--plain-http",
        "--artifact-type",
        "application/x",
        &reference,
        "sbom.json",
    ];
    tools.oras(&attach).await.ok();
    let inspect = format!("docker://{reference}");
    tools
        .skopeo(&["inspect", "--raw", "--tls-verify=false", &inspect])
        .await
        .ok();
    assert_eq!(
        registry.endpoint().referrers_reply(APP, &image.digest).await.status,
        404
    );
    assert_eq!(
        proxy
            .endpoint()
            .basic("alice", "wonder")
            .referrers(APP, &image.digest)
            .await
            .len(),
        1
    );
}

#[tokio::test]
async fn callers_credentials_are_passed_on_where_the_configuration_gives_none() {
    let (own, callers) = (guarded().await, guarded().await);
    callers.endpoint().push_image(APP, "v1", "x").await;
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("htpasswd");
    htpasswd(&users, "alice", "wonder");
    let mut config = Config {
        upstreams: [&own, &callers]
            .map(|registry| UpstreamConfig::new(registry.url().parse().unwrap()))
            .into(),
        ..Config::default()
    };
    config.upstreams[0].credentials = robot(folder.path());
    config.upstreams[1].name = "callers".to_owned();
    config.upstreams[1].hosts = ["callers.example".to_owned()].into();
    config.server.auth.htpasswd_file = Some(users);
    let proxy = Local::of(config).await;
    let ask = async |endpoint: Endpoint, host: &str| {
        let headers = [("host", host), ("accept", ANY)];
        endpoint
            .get_with(&format!("/v2/{APP}/tags/list"), &headers)
            .await
            .status
    };
    let (alice, robot) = (
        proxy.endpoint().basic("alice", "wonder"),
        proxy.endpoint().basic(ROBOT.0, ROBOT.1),
    );
    assert_eq!(ask(alice.clone(), "own.example").await, 404);
    assert_eq!(ask(robot.clone(), "own.example").await, 401);
    assert_eq!(ask(alice, "callers.example").await, 401);
    assert_eq!(ask(robot, "callers.example").await, 200);
}

#[tokio::test]
async fn an_open_door_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (password, users) = (folder.path().join("password"), folder.path().join("htpasswd"));
    std::fs::write(&password, "x").unwrap();
    htpasswd(&users, "alice", "wonder");
    let file = folder.path().join("refshim.toml");
    let write = |server: &str| {
        let credentials = format!(
            "kind = 'static'\nusername = 'u'\npassword_file = '{}'",
            password.display()
        );
        let upstream = format!("[[upstream]]\nurl = 'http://127.0.0.1:1'\n[upstream.credentials]\n{credentials}");
        std::fs::write(&file, format!("[server]\n{server}\n{upstream}\n")).unwrap();
    };
    let config = file.display().to_string();
    for command in ["serve", "check"] {
        write("listen = '0.0.0.0:0'");
        let line = refshim(&[command, "--config", &config]).await.refused(2);
        assert!(
            line.contains("server.auth") && line.contains("allow_anonymous"),
            "{line}"
        );
        write(&format!(
            "listen = '[::]:0'\nallow_anonymous = true\nauth.htpasswd_file = '{}'",
            users.display()
        ));
        let line = refshim(&[command, "--config", &config]).await.refused(2);
        assert!(line.contains("server.allow_anonymous"), "{line}");
    }
    for open in [
        "listen = '127.0.0.1:0'".to_owned(),
        "listen = '0.0.0.0:0'\nallow_anonymous = true".to_owned(),
        format!("listen = '0.0.0.0:0'\nauth.htpasswd_file = '{}'", users.display()),
    ] {
        write(&open);
        // The registry is not there, which is found out only once the configuration is right.
        let line = refshim(&["check", "--config", &config]).await;
        assert_eq!(line.code, Some(1), "{open}: {line:?}");
    }
}

/// What `check` says of a registry at `url` with `credentials`, and how it ends.
async fn check(folder: &Path, url: &str, server: &str, credentials: &str, arguments: &[&str]) -> support::cli::Ended {
    let config = folder.join("refshim.toml");
    let text = format!("[server]\n{server}\n[[upstream]]\nurl = '{url}'\n[upstream.credentials]\n{credentials}\n");
    std::fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    let arguments: Vec<&str> = ["check", "--config", &config]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let said = refshim(&arguments).await;
    assert!(!format!("{said:?}").contains(ROBOT.1), "{said:?}");
    said
}

#[tokio::test]
async fn check_tries_them_and_says_who_may_use_them() {
    let (guarded, open, tokens) = (guarded().await, Registry::v2().await, TokenService::start().await);
    tokens.allow(Some(ROBOT), APP, &["pull", "push"]);
    let by_token = tokens.guard(Registry::builder(Program::V3)).start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    let password = |text: &str| {
        let file = file(&format!("password-{}", text.len()), text);
        format!("kind = 'static'\nusername = 'robot'\npassword_file = '{file}'")
    };
    let nothing = format!("kind = 'docker-config'\nfile = '{}'", file("config.json", "{}"));
    let loopback = "listen = '127.0.0.1:0'";
    for (registry, server, credentials, outcome, usable_by) in [
        (&guarded, loopback, password(ROBOT.1), "accepted", "this-machine"),
        (
            &guarded,
            "listen = '0.0.0.0:0'\nallow_anonymous = true",
            password(ROBOT.1),
            "accepted",
            "anybody",
        ),
        (&by_token, loopback, password(ROBOT.1), "accepted", "this-machine"),
        (&open, loopback, password(ROBOT.1), "unneeded", "this-machine"),
        (&guarded, loopback, password("wrong"), "refused", "this-machine"),
        (&by_token, loopback, password("wrong"), "refused", "this-machine"),
        (&guarded, loopback, nothing.clone(), "missing", "this-machine"),
    ] {
        let said = check(
            folder.path(),
            &registry.url(),
            server,
            &credentials,
            &["--output", "json"],
        )
        .await;
        let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
        let own = &report["upstreams"][0]["ownCredentials"];
        assert_eq!(
            (&own["outcome"], &own["usableBy"]),
            (&outcome.into(), &usable_by.into()),
            "{report}"
        );
        let useless = ["refused", "missing"].contains(&outcome);
        assert_eq!(said.code, Some(i32::from(useless)), "{said:?}");
    }
    // At a repository, where the registry judges what they may do.
    for (repository, code, words) in [
        (APP, 1, "does not know the repository"),
        ("o/other", 1, "refuses refshim's own credentials at o/other"),
    ] {
        let arguments = ["--repository", repository];
        let said = check(folder.path(), &by_token.url(), loopback, &password(ROBOT.1), &arguments).await;
        assert_eq!(said.code, Some(code), "{said:?}");
        assert!(said.stderr.contains(words), "{said:?}");
    }
}

#[tokio::test]
async fn the_start_says_who_may_use_them() {
    let folder = tempfile::tempdir().unwrap();
    robot(folder.path());
    let config = format!(
        "[[upstream]]\nurl = 'http://127.0.0.1:1'\n[upstream.credentials]\nkind = 'static'\nusername = 'robot'\npassword_file = '{}'",
        folder.path().join("password").display()
    );
    let proxy = Refshim::bare().config(&config).start().await;
    let line = eventually("it is said", async || {
        let output = proxy.output();
        output
            .lines()
            .find(|line| line.contains("own credentials"))
            .map(str::to_owned)
    })
    .await;
    assert!(line.contains("'default'") && line.contains("on this machine"), "{line}");
}
