//! Redirects of refshim's own reads. 127.0.0.2 is a host on a private address.

use refshim::testing::registry::{Answer, UpstreamError};

use crate::registry_client::scripted::{Scripted, reply};
use crate::registry_client::{alice, digest, found, invalid, reference, repository, upstream, upstream_with};

async fn storage(host: &str) -> Scripted {
    Scripted::start_at(host, |_| {
        reply(200, &[("content-type", "application/octet-stream")], "blob")
    })
    .await
}

async fn redirecting(to: String) -> Scripted {
    Scripted::start(move |_| reply(307, &[("location", &to)], "see there")).await
}

#[tokio::test]
async fn credentials_stay_at_home_and_signed_urls_stay_as_they_are() {
    let storage = storage("127.0.0.2").await;
    let server = redirecting(format!("{}/b%2fc?X-Sig=a%2Bb+c&~='", storage.url())).await;
    let upstream = upstream_with(&server.url(), |config, _| {
        config.redirect_hosts.insert("127.0.0.2".into());
    });
    assert_eq!(
        found(upstream.blob(&repository(), &digest("blob"), 9, &alice()).await),
        "blob"
    );
    let asked = storage.take().remove(0);
    assert_eq!(asked.line, "GET /b%2fc?X-Sig=a%2Bb+c&~='");
    assert_eq!(asked.header("authorization"), None);
    assert_eq!(asked.header("host"), Some(storage.authority()));
    assert_eq!(server.take()[0].header("authorization"), Some("Bearer alice"));
}

#[tokio::test]
async fn another_port_of_the_upstreams_host_is_another_origin() {
    let storage = storage("127.0.0.1").await;
    let server = redirecting(storage.url()).await;
    found(
        upstream(&server.url())
            .blob(&repository(), &digest("blob"), 9, &alice())
            .await,
    );
    assert_eq!(storage.take()[0].header("authorization"), None);
}

#[tokio::test]
async fn private_addresses_are_not_asked_unless_listed() {
    let storage = storage("127.0.0.1").await;
    let port = storage.authority().rsplit_once(':').unwrap().1.to_owned();
    for target in [
        storage.url(),
        format!("http://localhost:{port}/"),
        format!("//127.0.0.1:{port}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[::1]:1/".to_owned(),
    ] {
        let location = target.clone();
        let script = move |_| reply(307, &[("location", &location)], "see there");
        let server = Scripted::start_at("127.0.0.2", script).await;
        let upstream = upstream(&server.url());
        let reason = invalid(upstream.blob(&repository(), &digest("blob"), 9, &alice()).await);
        assert!(reason.contains("redirect_hosts"), "{target}: {reason}");
        assert_eq!(server.lines().len(), 1, "not tried again");
    }
    assert_eq!(storage.lines().len(), 0);
}

#[tokio::test]
async fn redirects_at_home_keep_the_credentials_and_end() {
    let server = Scripted::start(|request| match request.uri().path() {
        "/elsewhere" => reply(200, &[], "blob"),
        "/circle" => reply(302, &[("location", "circle")], ""),
        path if path.contains("manifests") => reply(302, &[("location", "/circle")], ""),
        _ => reply(302, &[("location", "../../../../elsewhere")], ""),
    })
    .await;
    let upstream = upstream(&server.url());
    found(upstream.blob(&repository(), &digest("blob"), 9, &alice()).await);
    assert_eq!(server.take()[1].header("authorization"), Some("Bearer alice"));
    invalid(upstream.manifest(&repository(), &reference("v1"), &alice()).await);
    assert_eq!(server.lines().len(), 6);
}

#[tokio::test]
async fn what_another_host_refuses_is_no_refusal_of_the_registry() {
    for status in [401, 403, 404] {
        let storage = Scripted::start_at("127.0.0.2", move |_| reply(status, &[], "{}")).await;
        let server = redirecting(storage.url()).await;
        let upstream = upstream_with(&server.url(), |config, _| {
            config.redirect_hosts.insert("127.0.0.2".into());
        });
        invalid(upstream.blob(&repository(), &digest("blob"), 9, &alice()).await);
    }
}

#[tokio::test]
async fn a_login_page_behind_a_redirect_is_no_manifest() {
    let login = Scripted::start_at("127.0.0.2", |_| reply(200, &[("content-type", "text/html")], "<html>")).await;
    let server = redirecting(login.url()).await;
    let upstream = upstream_with(&server.url(), |config, _| {
        config.redirect_hosts.insert("127.0.0.2".into());
    });
    invalid(upstream.manifest(&repository(), &reference("v1"), &alice()).await);
    invalid(upstream.tags(&repository(), &alice()).await);
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_an_error() {
    for location in ["ftp://a/", "http://user:pass@127.0.0.1/", ""] {
        let server = redirecting(location.to_owned()).await;
        let answer = upstream(&server.url())
            .manifest(&repository(), &reference("v1"), &alice())
            .await;
        assert!(
            matches!(answer, Err(UpstreamError::Invalid(_))),
            "{location}: {answer:?}"
        );
    }
    let none = Scripted::start(|_| reply(300, &[], "")).await;
    let answer = upstream(&none.url())
        .manifest(&repository(), &reference("v1"), &alice())
        .await;
    assert!(!matches!(answer, Ok(Answer::Found(_))));
}
