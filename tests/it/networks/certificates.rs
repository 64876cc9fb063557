//! Certificates that no public authority issued, and schemes that are the other one.

use std::process::Command;

use super::{APP, authority, behind_tls, certificate_in, registry};
use crate::support::cli::refshim_in;
use crate::support::{Local, Nginx, Refshim, certificate};
use http::Method;

const OF_LOOPBACK: &str = "IP:127.0.0.1";

#[tokio::test]
async fn a_certificate_as_openssl_makes_it_is_trusted_once_ca_file_holds_it() {
    let (fake, _) = registry().await;
    let (link, folder) = behind_tls(&fake, OF_LOOPBACK).await;
    let text = Command::new("openssl")
        .args(["x509", "-noout", "-text", "-in", &certificate_in(&folder)])
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&text.stdout).contains("CA:TRUE"),
        "as openssl makes it"
    );
    let (url, ca_file) = (link.url(), certificate_in(&folder));
    let image = format!("{}/{APP}:v1", link.url());
    let listed = refshim_in(&[], &["referrers", &image, "--ca-file", &ca_file])
        .await
        .ok();
    assert!(listed.contains("1 referrer"), "{listed}");
    refshim_in(&[], &["check", "--upstream", &url, "--ca-file", &ca_file])
        .await
        .ok();
    let refshim = Refshim::builder(&url).arguments(&["--ca-file", &ca_file]).start().await;
    refshim.endpoint().get("/v2/").await.expect_status(200);

    let said = refshim_in(&[], &["check", "--upstream", &url]).await.refused(1);
    assert!(said.contains("ca_file (--ca-file)"), "{said}");
    let said = refshim_in(&[], &["tree", &image]).await.refused(1);
    assert!(said.contains("ca_file (--ca-file)"), "{said}");
    // Of the same name, and made alike.
    let other = tempfile::tempdir().unwrap();
    certificate::make_signing(other.path(), OF_LOOPBACK);
    let said = refshim_in(
        &[],
        &["check", "--upstream", &url, "--ca-file", &certificate_in(&other)],
    )
    .await;
    assert!(said.refused(1).contains("ca_file (--ca-file)"));
    // It is trusted for its own names alone.
    let elsewhere = format!("https://localhost:{}", link.authority().rsplit_once(':').unwrap().1);
    let said = refshim_in(&[], &["check", "--upstream", &elsewhere, "--ca-file", &ca_file]).await;
    assert!(said.refused(1).contains("not valid for name"));
}

#[tokio::test]
async fn an_unverified_registry_is_reached_and_everybody_is_warned() {
    let (fake, _) = registry().await;
    let (link, _folder) = behind_tls(&fake, "DNS:somebody.else.test").await;
    let environment = [("REFSHIM_UPSTREAM__0__INSECURE_SKIP_VERIFY", "true")];
    let refshim = Refshim::builder(&link.url())
        .env(environment[0].0, environment[0].1)
        .start()
        .await;
    refshim.endpoint().get("/v2/").await.expect_status(200);
    let log = refshim.output();
    let warned = |line: &str| line.contains("WARN") && line.contains("insecure_skip_verify");
    assert!(log.lines().any(warned), "{log}");
    let said = refshim_in(&environment, &["check", "--upstream", &link.url()])
        .await
        .ok();
    assert!(
        said.contains("advice: insecure_skip_verify accepts every certificate"),
        "{said}"
    );
    let said = refshim_in(&environment, &["check", "--upstream", &fake.url()])
        .await
        .refused(2);
    assert!(
        said.contains("insecure_skip_verify: has no effect without TLS"),
        "{said}"
    );
}

#[tokio::test]
async fn a_scheme_that_should_be_the_other_one_is_said() {
    let (fake, _) = registry().await;
    let (link, _folder) = behind_tls(&fake, OF_LOOPBACK).await;
    let url = format!("https://{}", authority(&fake));
    let said = refshim_in(&[], &["check", "--upstream", &url]).await.refused(1);
    assert!(said.contains("write http://"), "{said}");
    let url = format!("http://{}", link.authority());
    let said = refshim_in(&[], &["check", "--upstream", &url]).await.refused(1);
    assert!(said.contains("write https://"), "{said}");
}

/// Go's servers and nginx answer in plain text where they expect TLS.
#[tokio::test]
async fn a_server_that_says_that_it_expects_tls_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    certificate::make_signing(folder.path(), OF_LOOPBACK);
    let nginx = Nginx::start(folder.path(), "ssl", "").await;
    let url = format!("http://{}", nginx.authority());
    let image = format!("{url}/{APP}:v1");
    for arguments in [&["check", "--upstream", &url][..], &["tree", &image]] {
        let said = refshim_in(&[], arguments).await.refused(1);
        assert!(
            said.contains("it expects TLS at this port (HTTP 400): write https://"),
            "{said}"
        );
    }
    let proxy = Local::in_front_of(&url).await;
    for (method, path) in [(Method::GET, "/v2/"), (Method::POST, "/v2/app/blobs/uploads/")] {
        let reply = proxy.endpoint().send(method, path, &[], "").await.expect_status(502);
        assert!(reply.text().contains("write https:// in upstream.url"), "{reply:?}");
    }
}
