//! Whatever cannot be read makes something unknown. Nothing is called missing for it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Images, audit, complete, image, presence};
use crate::support::fake::{Fake, Trouble, profiles};
use crate::support::{CountingProxy, Endpoint, Fault, Registry};

/// All that the report says of the images that are asked for here: who has what.
fn claims(report: &Value) -> Vec<(String, [&str; 3])> {
    let repositories = report["repositories"].as_array().unwrap().iter();
    let images = repositories.flat_map(|repository| repository["images"].as_array().unwrap());
    let mut claims = Vec::new();
    for image in images {
        let name = image["tags"][0].as_str().unwrap_or_default().to_owned();
        claims.push((name.clone(), presence(image)));
        for platform in image["platforms"].as_array().unwrap() {
            let platform_name = platform["platform"].as_str().unwrap();
            claims.push((format!("{name} {platform_name}"), presence(platform)));
        }
    }
    claims
}

/// Every request of a good audit fails once in its turn: what is said then is either what is true, or unknown.
#[tokio::test]
async fn no_failure_makes_a_signed_image_an_unsigned_one() {
    let fake = Fake::start(profiles::tags(crate::support::fake::knobs::TagPages::default())).await;
    Images::push(&fake.endpoint(), 1).await;
    fake.take();
    let target = format!("{}/app", fake.endpoint().authority());
    let truth = complete(&[&target]).await;
    let truth = claims(&truth);
    let paths: BTreeSet<String> = fake.requests().iter().map(|seen| seen.path.clone()).collect();
    assert!(paths.len() > 15, "{paths:?}");
    let mut unknown = 0;
    for path in paths {
        for (name, trouble) in [
            ("500", Trouble::answer(501, &[], "")),
            (
                "a page",
                Trouble::answer(404, &[("content-type", "text/plain")], "default backend - 404"),
            ),
            ("a refusal", Trouble::oci(403, "DENIED", "no")),
        ] {
            let fails = path.clone();
            fake.trouble(trouble, move |seen| seen.path == fails);
            let (report, ended) = audit(&["--require", "signature", &target]).await;
            fake.heal();
            let claimed = claims(&report);
            for (image, presence) in &claimed {
                let known = truth.iter().find(|(known, _)| known == image);
                for (at, claim) in presence.iter().enumerate() {
                    let is_true = known.is_some_and(|(_, known)| known[at] == *claim);
                    assert!(
                        is_true || *claim == "unknown",
                        "{path}: {name}: {image}: {presence:?}: {report:#}"
                    );
                }
            }
            // What is missing is either there, or an error says that something is unknown.
            let is_whole = claimed == truth && report["complete"] == true;
            assert!(
                is_whole || ended.stderr.contains("UNKNOWN"),
                "{path}: {name}: {ended:?}"
            );
            assert_eq!(ended.code, Some(1), "plain is unsigned in any case");
            unknown += usize::from(!is_whole);
        }
    }
    assert!(unknown > 20, "only {unknown} failures showed");
}

#[tokio::test]
async fn a_repository_that_cannot_be_listed_is_unknown_and_the_others_are_not() {
    let registry = Registry::v2().await;
    Images::push(&registry.endpoint(), 0).await;
    registry.endpoint().push_image("other", "v1", "other").await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let refusal = Fault::answer(
        403,
        &[("content-type", "application/json")],
        r#"{"errors":[{"code":"DENIED","message":"no"}]}"#,
    );
    link.fail(refusal, |seen| seen.path.starts_with("/v2/other/tags/list"));
    let host = Endpoint::new(link.url()).authority().to_owned();
    let (report, ended) = audit(&[&format!("{host}/app"), &format!("{host}/other")]).await;
    assert_eq!(presence(image(&report, "signed"))[0], "yes");
    let other = &report["repositories"][1];
    assert_eq!((&other["images"], ended.code), (&json!([]), Some(1)), "{report:#}");
    assert!(
        ended.stderr.contains("UNKNOWN") && ended.stderr.contains("HTTP 403"),
        "{ended:?}"
    );
    // Whoever may not list cannot be told that there is no signature, nor where the listing fails.
    for fault in [None, Some(Fault::status(501))] {
        if let Some(fault) = fault {
            link.heal();
            link.fail(fault, |seen| seen.path.starts_with("/v2/other/tags/list"));
        }
        let (report, ended) = audit(&["--require", "signature", &format!("{host}/other:v1")]).await;
        assert_eq!(
            (ended.code, presence(image(&report, "v1"))[0]),
            (Some(1), "unknown"),
            "{report:#}"
        );
        assert_eq!(image(&report, "v1")["missing"], json!([]));
    }
    // One that is not there is no empty one.
    let (_, ended) = audit(&[&format!("{}/nothing", registry.authority())]).await;
    assert!(
        ended.code == Some(1) && ended.stderr.contains("does not know the repository"),
        "{ended:?}"
    );
    let (report, ended) = audit(&[&format!("{}/app:nothing", registry.authority())]).await;
    assert_eq!(
        (ended.code, presence(&report["repositories"][0]["images"][0])),
        (Some(1), ["unknown"; 3])
    );
}
