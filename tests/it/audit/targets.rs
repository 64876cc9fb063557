//! What can be audited: images, repositories, prefixes, lists.

use std::io::Write as _;

use serde_json::Value;

use super::{audit, complete};
use crate::support::cli::refshim;
use crate::support::fake::{Fake, Knobs, Trouble};
use crate::support::{CountingProxy, Endpoint, Fault, Program, Registry};

fn repositories(report: &Value) -> Vec<&str> {
    let repositories = report["repositories"].as_array().unwrap().iter();
    let names = repositories.map(|repository| repository["repository"].as_str().unwrap());
    names.map(|name| name.split_once('/').unwrap().1).collect()
}

#[tokio::test]
async fn all_repositories_of_a_prefix_are_audited() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        for name in ["team/app", "team/base", "teams/app", "other"] {
            registry.endpoint().push_image(name, "v1", name).await;
        }
        let host = registry.authority();
        for (prefix, expected) in [
            ("", &["other", "team/app", "team/base", "teams/app"][..]),
            ("team/", &["team/app", "team/base"]),
            ("team*", &["team/app", "team/base", "teams/app"]),
        ] {
            let report = complete(&[&format!("{host}/{prefix}")]).await;
            assert_eq!(repositories(&report), expected, "{program:?}: {prefix}");
        }
        let (_, ended) = audit(&["--require", "signature", &format!("{host}/team/")]).await;
        assert!(
            ended.stderr.contains("2 of 2 images lack what is required"),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn a_catalog_is_read_to_its_end_or_not_believed() {
    let fake = Fake::start(Knobs::default()).await;
    fake.image("app", "v1", "app");
    let target = format!("{}/", fake.endpoint().authority());
    complete(&[&target]).await;
    let is_catalog = |seen: &crate::support::Seen| seen.path.starts_with("/v2/_catalog");
    // A registry that knows no 'last' lists the same again.
    let again = Trouble::answer(
        200,
        &[("content-type", "application/json")],
        r#"{"repositories":["app"]}"#,
    );
    let catalogs = [
        (again, "its end cannot be told"),
        (Trouble::html(200), "HTTP 200"),
        (
            Trouble::answer(200, &[("content-type", "application/json")], "{}"),
            "HTTP 200",
        ),
        (
            Trouble::oci(401, "UNAUTHORIZED", "no"),
            "name them, or give a list with --from-file",
        ),
        (
            Trouble::answer(404, &[("content-type", "text/plain")], "404 page not found"),
            "name them",
        ),
        (Trouble::answer(501, &[], ""), "HTTP 501"),
    ];
    for (trouble, expected) in catalogs {
        fake.trouble(trouble, is_catalog);
        let ended = refshim(&["audit", &target]).await;
        fake.heal();
        assert!(
            ended.stdout.is_empty() && ended.stderr.contains(expected),
            "{expected}: {ended:?}"
        );
        ended.refused(1);
    }
}

#[tokio::test]
async fn a_list_is_audited_with_one_listing_for_each_repository() {
    let registry = Registry::v3().await;
    for (name, tag) in [("app", "v1"), ("app", "v2"), ("app", "v3"), ("base", "v1")] {
        registry
            .endpoint()
            .push_image(name, tag, &format!("{name} {tag}"))
            .await;
    }
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let host = Endpoint::new(link.url()).authority().to_owned();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(
        file,
        "# running\n{host}/app:v1\n\n{host}/base:v1 # the base\n{host}/app:v1\n"
    )
    .unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let report = complete(&["--from-file", &path, &format!("{host}/app:v2")]).await;
    assert_eq!(repositories(&report), ["app", "base"]);
    let tags: Vec<&Value> = report["repositories"][0]["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| &image["tags"])
        .collect();
    assert_eq!(tags.len(), 2, "{tags:?}");
    let whole = link.count(|seen| seen.path.starts_with("/v2/app/tags/list"));
    assert!(whole <= 4, "{whole} pages");
    writeln!(file, "{host}/UPPER").unwrap();
    let error = refshim(&["audit", "--from-file", &path]).await.refused(2);
    assert!(error.contains("line 6: 'UPPER' is not a repository name"), "{error}");
}

#[tokio::test]
async fn wrong_usage_is_told_before_anything_is_asked() {
    for (arguments, expected) in [
        (&["audit"][..], "required arguments were not provided"),
        (&["audit", "app"], "'app' is not a reference"),
        (
            &["audit", "--require", "licence", "localhost/app"],
            "invalid value 'licence'",
        ),
        (&["audit", "--rate", "0", "localhost/app"], "invalid value '0'"),
        (
            &["audit", "--depth", "names", "localhost:1/app"],
            "leave out --depth names",
        ),
        (
            &["audit", "--from-file", "/nowhere/at/all"],
            "--from-file /nowhere/at/all",
        ),
    ] {
        let error = refshim(arguments).await.refused(2);
        assert!(error.contains(expected), "{error}");
    }
    let link = CountingProxy::in_front_of("http://127.0.0.1:1").await;
    link.fail(Fault::status(404), |_| true);
    let host = Endpoint::new(link.url()).authority().to_owned();
    let nothing = tempfile::NamedTempFile::new().unwrap();
    let path = nothing.path().to_str().unwrap();
    let error = refshim(&["audit", "--from-file", path]).await.refused(2);
    assert!(error.contains("there is nothing to audit"), "{error}");
    let error = refshim(&["audit", "--dry-run", "--output", "csv", &format!("{host}/app")]).await;
    assert_eq!(error.code, Some(2), "{error:?}");
    assert!(link.requests().is_empty());
}
