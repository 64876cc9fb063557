//! What an audit costs is said beforehand, and bounded.

use serde_json::json;

use super::{Images, audit, complete, image, presence};
use crate::support::cli::refshim;
use crate::support::{CountingProxy, Endpoint, Program, Registry};

#[tokio::test]
async fn the_cost_is_said_before_and_counted_after() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        Images::push(&registry.endpoint(), 1).await;
        let link = CountingProxy::in_front_of(&registry.url()).await;
        let target = format!("{}/app", Endpoint::new(link.url()).authority());
        let planned = refshim(&["audit", "--dry-run", "--output", "json", &target])
            .await
            .json();
        let listed = link.take();
        assert!(
            listed
                .iter()
                .all(|line| line.contains("/tags/list") || line.ends_with("/v2/")),
            "{listed:?}"
        );
        assert_eq!(planned["requests"]["made"], json!(listed.len()));
        assert_eq!(planned["repositories"][0]["tags"], 3);
        assert_eq!(planned["repositories"][0]["linkTags"], 2);
        let (report, ended) = audit(&[&target]).await;
        let made = link.take().len();
        assert_eq!(report["requests"]["made"], json!(made));
        assert_eq!(report["requests"]["estimated"], planned["requests"]["estimated"]);
        let estimated = planned["requests"]["estimated"].as_u64().unwrap() as usize;
        assert!(
            estimated / 2 < made && made < estimated * 2,
            "{estimated} instead of {made}"
        );
        let said = format!("reading them takes about {} more", estimated - listed.len());
        assert!(ended.code == Some(0) && ended.stderr.contains(&said), "{ended:?}");
    }
}

#[tokio::test]
async fn no_more_requests_are_made_than_allowed_and_the_rest_is_unknown() {
    let registry = Registry::v2().await;
    Images::push(&registry.endpoint(), 1).await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let target = format!("{}/app", Endpoint::new(link.url()).authority());
    let whole = complete(&["--rate", "1000", &target]).await;
    let all = link.take().len();
    assert_eq!(presence(image(&whole, "plain")), ["no"; 3]);
    for most in (1..all).step_by(3) {
        let (report, ended) = audit(&["--max-requests", &most.to_string(), &target]).await;
        let made = link.take().len();
        assert!(made <= most, "{made} of {most}");
        assert_eq!(
            (ended.code, &report["complete"]),
            (Some(1), &json!(false)),
            "{most}: {ended:?}"
        );
        assert!(
            ended.stderr.contains("UNKNOWN") && ended.stderr.contains("requests that may be made"),
            "{ended:?}"
        );
        for tag in ["signed", "plain"] {
            let images = report["repositories"][0]["images"].as_array().unwrap().iter();
            for found in images.filter(|found| found["tags"] == json!([tag])) {
                let known = presence(image(&whole, tag));
                for (claim, known) in presence(found).iter().zip(known) {
                    assert!(*claim == "unknown" || *claim == known, "{most}: {tag}: {report:#}");
                }
            }
        }
    }
    // What is read at the same time is read once or twice, as it happens.
    let enough = all + 10;
    let report = complete(&["--max-requests", &enough.to_string(), &target]).await;
    assert_eq!(report["requests"]["made"], json!(link.take().len()));
}
