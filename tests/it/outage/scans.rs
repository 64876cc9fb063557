//! A scan that meets a failure is a failure: its list could lack something.

use super::{Setup, expect_failure};
use crate::support::{Fault, Seen, within};

type Part = (&'static str, fn(&Seen) -> bool);

/// The requests without which a list may lack something.
const PARTS: [Part; 3] = [
    ("tag list", |seen| seen.path.contains("/tags/list")),
    ("tag", |seen| seen.path.contains("/manifests/sha256-")),
    ("manifest", |seen| seen.path.contains("/manifests/sha256:")),
];

#[tokio::test]
async fn no_part_of_a_scan_may_fail_unnoticed() {
    let faults = [
        ("closed", Fault::Close),
        ("500", Fault::status(500)),
        ("503", Fault::answer(503, &[("retry-after", "1")], "")),
        (
            "504",
            Fault::answer(504, &[("content-type", "text/html")], "<html>gateway timeout</html>"),
        ),
        ("cut", Fault::CutBody(10)),
    ];
    let setup = Setup::new(|builder| builder.env("REFSHIM_UPSTREAM__0__RETRIES", "1")).await;
    for (part, matches) in PARTS {
        for (name, fault) in &faults {
            setup.link.fail(fault.clone(), matches);
            expect_failure(&setup.ask().await, &format!("{part} {name}"));
            setup.link.heal();
        }
    }
    setup.expect_both().await;
}

#[tokio::test]
async fn a_tag_list_that_is_none_is_a_failure() {
    let json = [("content-type", "application/json")];
    let bodies = [
        Fault::answer(200, &[("content-type", "text/html")], "<html>Sign in</html>"),
        Fault::answer(200, &json, ""),
        Fault::answer(200, &json, "{}"),
        Fault::answer(200, &json, r#"{"name":"app","tags":"none"}"#),
        Fault::answer(200, &json, r#"{"name":"app","tags":["v1""#),
        Fault::answer(404, &[("content-type", "text/html")], "<html>no such host</html>"),
        Fault::answer(302, &[("location", "/v2/app/tags/list")], ""),
    ];
    let setup = Setup::new(|builder| builder).await;
    for fault in bodies {
        let case = match &fault {
            Fault::Answer { status, body, .. } => format!("{status} {body:?}"),
            _ => unreachable!("all are answers"),
        };
        setup.link.fail(fault, |seen| seen.path.contains("/tags/list"));
        expect_failure(&setup.ask().await, &case);
        setup.link.heal();
    }
    setup.expect_both().await;
}

#[tokio::test]
async fn a_page_of_tags_that_fails_is_a_failure() {
    let setup = Setup::new(|builder| builder).await;
    let first = r#"{"name":"app","tags":["v1"]}"#;
    let headers = [
        ("content-type", "application/json"),
        ("link", "</v2/app/tags/list?last=v1&n=1>; rel=\"next\""),
    ];
    setup
        .link
        .fail(Fault::status(500), |seen| seen.path.contains("last=v1"));
    setup.link.fail(Fault::answer(200, &headers, first), |seen| {
        seen.path.contains("/tags/list")
    });
    expect_failure(&setup.ask().await, "second page");
}

#[tokio::test]
async fn one_failure_is_retried_unseen() {
    for fault in [Fault::Close, Fault::status(503)] {
        for (_, matches) in PARTS {
            let setup = Setup::new(|builder| builder).await;
            setup.link.fail_times(1, fault.clone(), matches);
            setup.expect_both().await;
        }
    }
}

#[tokio::test]
async fn the_upstream_dies_in_the_middle_of_a_scan() {
    for (part, matches) in PARTS {
        let mut setup = Setup::new(|builder| builder).await;
        let gate = setup.link.hold(matches);
        let (through, digest) = (setup.refshim.endpoint(), setup.image.digest.clone());
        let asked = tokio::spawn(async move { through.referrers_reply("app", &digest).await });
        gate.reached_by(1).await;
        setup.registry.kill();
        gate.open();
        expect_failure(&within(part, asked).await.unwrap(), part);

        setup.registry.restart().await;
        setup.expect_both().await;
    }
}

#[tokio::test]
async fn an_upstream_that_is_silent_is_given_up() {
    let setup = Setup::new(|builder| {
        let builder = builder.env("REFSHIM_UPSTREAM__0__CONNECT_TIMEOUT", "500ms");
        builder.env("REFSHIM_UPSTREAM__0__FIRST_BYTE_TIMEOUT", "200ms")
    })
    .await;
    setup.registry.freeze();
    expect_failure(&setup.ask().await, "referrers");
    let manifest = setup.refshim.endpoint().manifest("app", "v1").await;
    expect_failure(&manifest, "pass-through");
    setup.registry.thaw();
    setup.expect_both().await;
}
