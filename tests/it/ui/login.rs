//! Logging in by a page: with the rights of the account and no others, for pages alone, and nobody is logged in by another site.

use http::Method;

use super::{is_protected, with_ui};
use crate::support::content::ANY;
use crate::support::tokens::TokenService;
use crate::support::{CountingProxy, Endpoint, Local, Program, Refshim, Registry, Reply};

const ALICE: (&str, &str) = ("alice", "secret+token");
const BOB: (&str, &str) = ("bob", "other");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");
const PAGE: &str = "/ui/r/private/app:v1";

/// A registry with tokens, as GHCR is one: a repository of Alice's, one of Bob's, and one of everybody's.
struct Guarded {
    link: CountingProxy,
    refshim: Local,
    _tokens: TokenService,
    _registry: Registry,
}

async fn guarded() -> Guarded {
    let tokens = TokenService::start().await;
    tokens.allow(Some(ALICE), "private/app", &["pull", "push"]);
    tokens.allow(Some(BOB), "bobs/app", &["pull", "push"]);
    tokens.allow(None, "public/app", &["pull", "push"]);
    let registry = tokens.guard(Registry::builder(Program::V3)).start().await;
    for (user, repository) in [
        (Some(ALICE), "private/app"),
        (Some(BOB), "bobs/app"),
        (None, "public/app"),
    ] {
        let token = tokens.bearer(user, &format!("repository:{repository}:pull,push"), 300);
        registry
            .endpoint()
            .authorization(&token)
            .push_image(repository, "v1", "x")
            .await;
    }
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let refshim = with_ui(link.url()).await;
    Guarded {
        link,
        refshim,
        _tokens: tokens,
        _registry: registry,
    }
}

fn form((user, password): (&str, &str)) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("user", user)
        .append_pair("password", password)
        .finish()
}

async fn log_in(at: &Endpoint, user: (&str, &str), site: (&str, &str)) -> Reply {
    at.send(Method::POST, &format!("/ui/login?to={PAGE}"), &[FORM, site], form(user))
        .await
}

/// What the browser sends back.
fn cookie(reply: &Reply) -> String {
    let set = reply.header("set-cookie").expect("a cookie");
    set.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_private_image_is_seen_by_whoever_logs_in_and_may_see_it() {
    let Guarded { link, refshim, .. } = &guarded().await;
    let at = refshim.endpoint();
    let refused = at.get(PAGE).await.expect_status(401);
    is_protected(&refused);
    assert!(
        refused
            .text()
            .contains("href=\"/ui/login?to=%2Fui%2Fr%2Fprivate%2Fapp%3Av1\""),
        "{}",
        refused.text()
    );
    let shown = at.get(&format!("/ui/login?to={PAGE}")).await.expect_status(200);
    is_protected(&shown);
    let wrong = log_in(&at, (ALICE.0, "wrong"), OWN).await.expect_status(403);
    assert!(
        wrong.header("set-cookie").is_none() && wrong.text().contains("does not accept"),
        "{}",
        wrong.text()
    );

    let reply = log_in(&at, ALICE, OWN).await.expect_status(303);
    assert_eq!(reply.header("location"), Some(PAGE));
    let set = reply.header("set-cookie").unwrap();
    assert!(set.ends_with("; Path=/ui; HttpOnly; SameSite=Strict"), "{set}");
    assert!(!set.contains("alice") && !set.contains(ALICE.1), "{set}");
    let cookie = cookie(&reply);
    let session = [("cookie", cookie.as_str())];
    let seen = at.get_with(PAGE, &session).await.expect_status(200).text();
    assert!(seen.contains("alice") && seen.contains("Log out"), "{seen}");
    at.get_with("/ui/r/private/app", &session).await.expect_status(200);
    at.get_with("/ui/", &session).await.expect_status(200);
    // The rights are Alice's, nobody else has them, and they are for pages alone.
    for path in ["/ui/r/bobs/app", "/ui/r/bobs/app:v1"] {
        let reply = at.get_with(path, &session).await;
        assert!([401, 403].contains(&reply.status), "{path}: {}", reply.status);
    }
    at.get(PAGE).await.expect_status(401);
    let headers = [("cookie", cookie.as_str()), ("accept", ANY)];
    at.get_with("/v2/private/app/manifests/v1", &headers)
        .await
        .expect_status(401);
    assert_eq!(link.count(|seen| seen.headers.contains_key("cookie") && !seen.path.starts_with("/v2/private/app/manifests/v1")), 0);

    let elsewhere = [("cookie", cookie.as_str()), ("sec-fetch-site", "cross-site")];
    at.send(Method::POST, "/ui/logout", &elsewhere, "")
        .await
        .expect_status(403);
    at.get_with(PAGE, &session).await.expect_status(200);
    let out = at
        .send(Method::POST, "/ui/logout", &[session[0], OWN], "")
        .await
        .expect_status(303);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    at.get_with(PAGE, &session).await.expect_status(401);
}

#[tokio::test]
async fn what_is_public_needs_no_login() {
    let Guarded { refshim, .. } = &guarded().await;
    refshim.endpoint().get("/ui/r/public/app:v1").await.expect_status(200);
}

#[tokio::test]
async fn no_other_site_logs_anybody_in() {
    let Guarded { refshim, .. } = &guarded().await;
    let at = refshim.endpoint();
    let own = format!("http://{}", refshim.authority());
    for site in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "none"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("x-nothing", "of both"),
    ] {
        let reply = log_in(&at, ALICE, site).await.expect_status(403);
        assert!(reply.header("set-cookie").is_none(), "{site:?}");
    }
    log_in(&at, ALICE, ("origin", &own)).await.expect_status(303);
    // No form leads away from these pages.
    for target in ["https://evil.example/", "//evil.example/", "/v2/"] {
        let path = format!("/ui/login?to={target}");
        let reply = at
            .send(Method::POST, &path, &[FORM, OWN], form(ALICE))
            .await
            .expect_status(303);
        assert_eq!(reply.header("location"), Some("/ui/"), "{target}");
    }
    for path in ["/ui/login", "/ui/logout"] {
        let framed = at.get(path).await.expect_status(200);
        is_protected(&framed);
    }
}

#[tokio::test]
async fn registries_with_passwords_take_them_from_the_form_too() {
    let registry = Registry::builder(Program::V2).users(&[ALICE]).start().await;
    registry.endpoint().push_image("private/app", "v1", "x").await;
    let refshim = with_ui(&registry.url()).await;
    let at = refshim.endpoint();
    log_in(&at, (ALICE.0, "wrong"), OWN).await.expect_status(403);
    for odd in [("", "x"), ("a:b", "x"), ("a", ""), ("a", "x\ny")] {
        log_in(&at, odd, OWN).await.expect_status(403);
    }
    let reply = log_in(&at, ALICE, OWN).await.expect_status(303);
    let cookie = cookie(&reply);
    at.get_with(PAGE, &[("cookie", &cookie)]).await.expect_status(200);
    let forged = cookie.replace(|c: char| c.is_ascii_digit(), "0");
    at.get_with(PAGE, &[("cookie", &forged)]).await.expect_status(401);
}

#[tokio::test]
async fn by_tls_the_cookie_stays_by_tls_and_a_restart_ends_the_login() {
    let registry = Registry::builder(Program::V2).users(&[ALICE]).start().await;
    registry.endpoint().push_image("private/app", "v1", "x").await;
    let config = format!(
        "[server]\nui = true\npublic_url = 'https://refs.example'\n[log]\nlevel = 'trace'\n[[upstream]]\nurl = '{}'\n",
        registry.url()
    );
    let mut refshim = Refshim::bare().config(&config).start().await;
    let at = refshim.endpoint();
    log_in(&at, ALICE, ("origin", "https://other.example"))
        .await
        .expect_status(403);
    let reply = log_in(&at, ALICE, ("origin", "https://refs.example"))
        .await
        .expect_status(303);
    assert!(
        reply
            .header("set-cookie")
            .unwrap()
            .ends_with("; SameSite=Strict; Secure")
    );
    let cookie = cookie(&reply);
    at.get_with(PAGE, &[("cookie", &cookie)]).await.expect_status(200);
    refshim.restart().await;
    at.get_with(PAGE, &[("cookie", &cookie)]).await.expect_status(401);
    let (log, name) = (refshim.output(), cookie.split_once('=').unwrap().1);
    let password = refshim::testing::auth::basic(ALICE.0, ALICE.1);
    for secret in [ALICE.1, "secret%2Btoken", name, password.trim_start_matches("Basic ")] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test]
async fn where_there_is_nothing_to_log_in_to_nobody_can() {
    let registry = Registry::v2().await;
    let refshim = with_ui(&registry.url()).await;
    let at = refshim.endpoint();
    let html = at.get("/ui/").await.expect_status(200).text();
    assert!(!html.contains("Log in"), "{html}");
    let reply = log_in(&at, ALICE, OWN).await.expect_status(403);
    assert!(reply.text().contains("asks nobody to log in"), "{}", reply.text());
}
