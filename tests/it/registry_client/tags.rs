//! Listings in every shape that registries give them.

use http::{Request, Response};
use hyper::body::Incoming;
use refshim::testing::http::body::Body;
use refshim::testing::registry::{Answer, UpstreamError};

use crate::registry_client::scripted::{Scripted, oci_error, parameter, reply};
use crate::registry_client::{alice, anyone, found, invalid, names, repository, upstream, upstream_with};
use crate::support::{CountingProxy, Fault, Program, Registry};

fn page(tags: &str, link: Option<&str>) -> Response<Body> {
    let link = link.map(|link| format!("<{link}>; rel=\"next\""));
    let headers: Vec<(&str, &str)> = link.iter().map(|link| ("link", link.as_str())).collect();
    reply(200, &headers, format!(r#"{{"name":"team/app","tags":{tags}}}"#))
}

async fn server<F>(script: F) -> Scripted
where
    F: Fn(Option<&str>, &Request<Incoming>) -> Response<Body> + Send + Sync + 'static,
{
    Scripted::start(move |request| script(parameter(&request, "last"), &request)).await
}

#[tokio::test]
async fn real_registries_list_all_their_tags() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let image = registry.endpoint().push_image("team/app", "v1", "one").await;
        let many = (0..1100).map(|n| (format!("t{n}"), image.digest.as_str()));
        registry.write_tags("team/app", many);
        let upstream = upstream(&registry.url());
        let tags = found(upstream.tags(&repository(), &anyone()).await);
        assert_eq!(
            (tags.len(), tags.get(0), tags.get(1100)),
            (1101, "t0", "v1"),
            "{program:?}"
        );
        let unknown = refshim::testing::oci::RepositoryName::parse("no/such").unwrap();
        let absent = upstream.tags(&unknown, &anyone()).await;
        assert!(matches!(absent, Ok(Answer::Absent)), "{program:?}: {absent:?}");
    }
}

#[tokio::test]
async fn relative_links_are_followed_as_they_are_and_null_is_an_empty_page() {
    let server = server(|last, _| match last {
        None => page(r#"["b","a"]"#, Some("/v2/team/app/tags/list?n=2&last=%62%2B+~")),
        _ => page("null", None),
    })
    .await;
    let tags = found(upstream(&server.url()).tags(&repository(), &alice()).await);
    assert_eq!(names(&tags), ["a", "b"]);
    let asked = server.take();
    assert_eq!(asked[0].line, "GET /v2/team/app/tags/list?n=1000");
    assert_eq!(asked[1].line, "GET /v2/team/app/tags/list?n=2&last=%62%2B+~");
    for request in asked {
        assert_eq!(request.header("authorization"), Some("Bearer alice"));
        assert_eq!(
            request.header("user-agent"),
            Some(concat!("refshim/", env!("CARGO_PKG_VERSION")))
        );
    }
}

#[tokio::test]
async fn absolute_links_with_opaque_tokens_and_a_link_on_every_page_end_too() {
    let server = server(|last, request| {
        let host = request.headers()["host"].to_str().unwrap();
        match last {
            None => page(
                r#"["c","a"]"#,
                Some(&format!("http://{host}/v2/team/app/tags/list?last=AAE%3D")),
            ),
            Some("AAE%3D") => page(r#"["b"]"#, Some("?last=b")),
            _ => page("[]", None),
        }
    })
    .await;
    let tags = found(upstream(&server.url()).tags(&repository(), &anyone()).await);
    assert_eq!(names(&tags), ["a", "b", "c"]);
}

#[tokio::test]
async fn links_that_lead_away_round_or_nowhere_are_errors() {
    let away = server(|_, _| page(r#"["a"]"#, Some("http://127.0.0.2:1/v2/team/app/tags/list"))).await;
    let round = server(|last, _| page(r#"["a"]"#, Some(if last == Some("x") { "?last=y" } else { "?last=x" }))).await;
    let nowhere = server(|last, _| page("[]", Some(&format!("?last={}x", last.unwrap_or_default())))).await;
    for server in [away, round, nowhere] {
        invalid(upstream(&server.url()).tags(&repository(), &alice()).await);
        assert!(server.lines().len() < 20);
    }
}

#[tokio::test]
async fn what_is_no_listing_is_an_error_and_never_an_empty_one() {
    for (status, body) in [
        (200, "<html>Sign in</html>"),
        (200, "{}"),
        (200, r#"{"tags":{}}"#),
        (200, r#"{"tags":["a"]} {"#),
        (204, ""),
        (302, ""),
        (404, "404 page not found"),
        (404, "<html>"),
    ] {
        let server = server(move |_, _| reply(status, &[], body)).await;
        invalid(upstream(&server.url()).tags(&repository(), &anyone()).await);
    }
}

#[tokio::test]
async fn a_404_is_absence_only_where_it_says_so() {
    let listed = |code: &'static str| async move {
        let server = Scripted::start(move |_| oci_error(404, code)).await;
        upstream(&server.url()).tags(&repository(), &anyone()).await
    };
    for code in ["NAME_UNKNOWN", "NOT_FOUND", "MANIFEST_UNKNOWN"] {
        let answer = listed(code).await;
        assert!(matches!(answer, Ok(Answer::Absent)), "{code}: {answer:?}");
    }
    for code in ["DENIED", "UNAUTHORIZED"] {
        let answer = listed(code).await;
        assert!(matches!(answer, Ok(Answer::Refused(_))), "{code}: {answer:?}");
    }
    for code in [
        "TOOMANYREQUESTS",
        "UNAVAILABLE",
        "UNKNOWN",
        "NAME_INVALID",
        "TAG_EXPIRED",
    ] {
        let said = invalid(listed(code).await);
        assert!(
            said.contains(code) && said.contains("404") && said.contains("/v2/team/app/tags/list"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn refusals_come_back_byte_for_byte() {
    let server = server(|_, _| {
        let headers = [
            ("www-authenticate", "Bearer realm=\"https://x/token\""),
            ("www-authenticate", "Basic"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
        ];
        reply(401, &headers, "{\"errors\" : [ ]}\n")
    })
    .await;
    let answer = upstream(&server.url()).tags(&repository(), &anyone()).await;
    let Ok(Answer::Refused(refusal)) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (refusal.status.as_u16(), refusal.body.as_ref()),
        (401, b"{\"errors\" : [ ]}\n".as_slice())
    );
    assert_eq!(refusal.headers.get_all("www-authenticate").iter().count(), 2);
    assert!(!refusal.headers.contains_key("x-hop") && !refusal.headers.contains_key("connection"));
}

#[tokio::test]
async fn a_page_that_breaks_off_is_asked_again_and_counted_once() {
    let registry = Registry::v3().await;
    let image = registry.endpoint().push_image("team/app", "v1", "one").await;
    registry.write_tags("team/app", (0..50).map(|n| (format!("t{n}"), image.digest.as_str())));
    let link = CountingProxy::in_front_of(&registry.url()).await;
    link.fail_times(1, Fault::CutBody(300), |_| true);
    link.fail_times(1, Fault::Close, |_| true);
    let tags = found(upstream(link.url()).tags(&repository(), &anyone()).await);
    let asked = link.take();
    assert_eq!((tags.len(), asked.len()), (51, 4), "{asked:?}");
    assert!(asked[3].ends_with("?n=1"), "{asked:?}");
}

#[tokio::test]
async fn a_huge_page_is_read_up_to_the_limit() {
    let all: Vec<String> = (0..200_000).rev().map(|n| format!("\"tag-{n:06}\"")).collect();
    let body = bytes::Bytes::from(format!(r#"{{"tags":[{}]}}"#, all.join(",")));
    let size = body.len();
    let server = Scripted::start(move |_| reply(200, &[], body.clone())).await;
    let limited = |bytes| upstream_with(&server.url(), move |_, limits| limits.tag_list_bytes = bytes);
    let tags = found(limited(size).tags(&repository(), &anyone()).await);
    assert_eq!(
        (tags.len(), tags.get(0), tags.get(199_999)),
        (200_000, "tag-000000", "tag-199999")
    );
    assert!(invalid(limited(size - 1).tags(&repository(), &anyone()).await).contains("larger than"));
}

#[tokio::test]
async fn limits_are_waited_for_when_they_are_short() {
    let registry = Registry::v3().await;
    registry.endpoint().push_image("team/app", "v1", "one").await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let upstream = upstream(link.url());
    let message =
        r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 880.092µs, allowed: 44000/minute"}]}"#;
    link.fail_times(1, Fault::answer(429, &[], message), |_| true);
    link.fail_times(1, Fault::answer(503, &[("retry-after", "0")], ""), |_| true);
    assert_eq!(found(upstream.tags(&repository(), &anyone()).await).len(), 1);
    assert_eq!(link.take().len(), 3);

    link.fail(Fault::answer(429, &[("retry-after", "77")], ""), |_| true);
    let limited = upstream.tags(&repository(), &anyone()).await;
    assert!(
        matches!(
            limited,
            Err(UpstreamError::Limited {
                retry_after: Some(77),
                ..
            })
        ),
        "{limited:?}"
    );
    assert_eq!(link.take().len(), 1);
}

#[tokio::test]
async fn a_page_that_vanishes_or_fails_spoils_the_listing() {
    for second in [404, 500] {
        let server = server(move |last, _| match last {
            None => page(r#"["a"]"#, Some("?last=a")),
            Some(_) => oci_error(second, "NAME_UNKNOWN"),
        })
        .await;
        assert!(upstream(&server.url()).tags(&repository(), &anyone()).await.is_err());
    }
}
