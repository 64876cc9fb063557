//! Where listings end, for registries that say so and for those that do not. A name that is left out may be a signature's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use refshim::testing::http::body::{Body, BoxError};
use refshim::testing::oci::RepositoryName;
use refshim::testing::registry::{Answer, TagNames, UpstreamError};

use crate::registry_client::scripted::{Scripted, oci_error, parameter, reply};
use crate::registry_client::{alice, anyone, found, invalid, names, repository, upstream, upstream_with};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Ignored,
    /// The names that are greater.
    Greater,
    /// That name itself, and those that are greater.
    Inclusive,
    /// The names after that one's place.
    Place,
    /// It is a number of names to leave out.
    Number,
    Refused,
    /// A token of the registry's own: nothing follows a name.
    Token,
}

/// How a registry pages.
#[derive(Clone, Copy)]
struct Form {
    honours_n: bool,
    /// Never more names than this on a page.
    cap: usize,
    /// Pages of fewer names than this link to the next.
    links_below: usize,
    last: Last,
}

/// go-containerregistry's: exactly `n` names, and no `Link`.
const CRANE: Form = Form {
    honours_n: true,
    cap: usize::MAX,
    links_below: 0,
    last: Last::Greater,
};
/// Distribution 2.8's.
const ALL_AT_ONCE: Form = Form {
    honours_n: false,
    last: Last::Ignored,
    ..CRANE
};
const LINKING: Form = Form {
    links_below: usize::MAX,
    ..CRANE
};

impl Form {
    fn answer(self, all: &[String], request: &Request<Incoming>) -> Response<Body> {
        let last = parameter(request, "last");
        let n = parameter(request, "n").and_then(|n| n.parse().ok());
        let place = last.and_then(|last| all.iter().position(|name| name == last));
        let rest: Vec<&String> = match (self.last, last) {
            (_, None) | (Last::Ignored, _) => all.iter().collect(),
            (Last::Greater, Some(last)) => all.iter().filter(|name| name.as_str() > last).collect(),
            (Last::Inclusive, Some(last)) => all.iter().filter(|name| name.as_str() >= last).collect(),
            (Last::Place, Some(_)) => all.iter().skip(place.map_or(all.len(), |place| place + 1)).collect(),
            (Last::Number, Some(last)) => all.iter().skip(last.parse().unwrap_or(0)).collect(),
            (Last::Token, Some(_)) => Vec::new(),
            (Last::Refused, Some(_)) => return oci_error(400, "UNSUPPORTED"),
        };
        let most = n.filter(|_| self.honours_n).unwrap_or(usize::MAX).min(self.cap);
        let page = &rest[..rest.len().min(most)];
        let link = format!("<?n={most}&last={}>; rel=\"next\"", page.last().map_or("", |name| name));
        let links = page.len() < rest.len() && page.len() < self.links_below;
        let headers: &[(&str, &str)] = if links { &[("link", &link)] } else { &[] };
        reply(200, headers, serde_json::json!({ "tags": page }).to_string())
    }

    async fn serve(self, all: Vec<String>) -> Scripted {
        Scripted::start(move |request| self.answer(&all, &request)).await
    }
}

fn sorted(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("t{n:05}")).collect()
}

/// In the order of their pushes.
fn unsorted(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("t{:05}", (n * 7919) % 100_003)).collect()
}

async fn listed(server: &Scripted) -> Result<Answer<TagNames>, UpstreamError> {
    upstream(&server.url()).tags(&repository(), &anyone()).await
}

#[tokio::test]
async fn a_page_without_a_link_is_not_taken_for_the_last() {
    let ghcr = Form {
        links_below: 1000,
        last: Last::Place,
        ..CRANE
    };
    for (name, form, all) in [
        ("exactly n names", CRANE, sorted(2500)),
        (
            "names that are numbers",
            CRANE,
            (1000..3500).map(|n| n.to_string()).collect(),
        ),
        ("two pages to the name", CRANE, sorted(2000)),
        ("fewer than n", CRANE, sorted(7)),
        ("a cap below n", Form { cap: 100, ..CRANE }, sorted(250)),
        ("an odd cap", Form { cap: 37, ..CRANE }, sorted(250)),
        (
            "a cap, whatever n is",
            Form {
                cap: 100,
                honours_n: false,
                ..CRANE
            },
            sorted(250),
        ),
        ("links, but not from a full page", ghcr, unsorted(2500)),
        (
            "no links, in no order",
            Form {
                last: Last::Place,
                ..CRANE
            },
            unsorted(2500),
        ),
        ("all at once", ALL_AT_ONCE, unsorted(1000)),
        (
            "all at once, and last is refused",
            Form {
                last: Last::Refused,
                ..ALL_AT_ONCE
            },
            unsorted(300),
        ),
        (
            "last is on the page after it, a cap whatever n is",
            Form {
                last: Last::Inclusive,
                cap: 100,
                ..ALL_AT_ONCE
            },
            sorted(150),
        ),
        (
            "last is on the page after it, links but not from a full page",
            Form {
                last: Last::Inclusive,
                links_below: 1000,
                ..CRANE
            },
            sorted(1050),
        ),
        (
            "links with tokens of its own",
            Form {
                last: Last::Place,
                cap: 100,
                ..LINKING
            },
            unsorted(250),
        ),
    ] {
        let server = form.serve(all.clone()).await;
        let upstream = upstream(&server.url());
        // The second time, it is known how listings go on.
        for round in ["first", "second"] {
            let tags = found(upstream.tags(&repository(), &anyone()).await);
            assert_eq!(tags, TagNames::from_iter(&all), "{name}, {round}");
        }
    }
}

#[tokio::test]
async fn where_no_end_can_be_proven_the_listing_fails() {
    for (name, form, all) in [
        (
            "n names, last ignored",
            Form {
                last: Last::Ignored,
                ..CRANE
            },
            sorted(2500),
        ),
        (
            "n names, last refused",
            Form {
                last: Last::Refused,
                ..CRANE
            },
            sorted(2500),
        ),
        ("no order that last goes by", CRANE, unsorted(2500)),
        (
            "last is a number, and so are the names",
            Form {
                last: Last::Number,
                cap: 100,
                ..CRANE
            },
            (1900..2050).map(|n| n.to_string()).collect(),
        ),
    ] {
        let server = form.serve(all).await;
        for _ in 0..2 {
            let reason = invalid(listed(&server).await);
            assert!(reason.contains("Link") || reason.contains("last"), "{name}: {reason}");
        }
    }
}

#[tokio::test]
async fn proof_costs_a_request_or_two_once_and_then_only_where_there_is_no_other() {
    let by_last = Form { cap: 100, ..CRANE };
    for (name, form, all, first, second) in [
        ("empty", LINKING, 0, 1, 1),
        ("one name", CRANE, 1, 1, 1),
        ("links", LINKING, 300 + 1, 2, 1),
        ("links, two pages", Form { cap: 200, ..LINKING }, 301, 3, 3),
        ("links, a round number", LINKING, 300, 4, 3),
        (
            "links by token, a round number",
            Form {
                last: Last::Token,
                ..LINKING
            },
            300,
            4,
            3,
        ),
        ("all at once", ALL_AT_ONCE, 301, 3, 1),
        ("more than asked for", ALL_AT_ONCE, 1301, 2, 1),
        ("by last, four pages", by_last, 301, 10, 9),
    ] {
        let server = form.serve(sorted(all)).await;
        let upstream = upstream(&server.url());
        for cost in [first, second] {
            assert_eq!(
                found(upstream.tags(&repository(), &anyone()).await).len(),
                all,
                "{name}"
            );
            let asked = server.lines();
            assert_eq!(asked.len(), cost, "{name}: {asked:?}");
        }
    }
}

#[tokio::test]
async fn what_is_learned_of_one_repository_ends_no_listing_of_another() {
    let server = Scripted::start(|request| {
        let form = if request.uri().path().contains("/other/") {
            CRANE
        } else {
            LINKING
        };
        form.answer(&sorted(1500), &request)
    })
    .await;
    let upstream = upstream(&server.url());
    for name in ["team/app", "team/other", "team/app"] {
        let repository = RepositoryName::parse(name).unwrap();
        let tags = found(upstream.tags(&repository, &anyone()).await);
        assert_eq!(tags.len(), 1500, "{name}");
    }
}

#[tokio::test]
async fn a_registry_that_begins_to_cut_pages_is_noticed() {
    for before in [ALL_AT_ONCE, LINKING] {
        let turned = Arc::new(AtomicBool::new(false));
        let now = Arc::clone(&turned);
        let server = Scripted::start(move |request| match now.load(Ordering::SeqCst) {
            false => before.answer(&sorted(30), &request),
            true => Form { cap: 100, ..CRANE }.answer(&sorted(250), &request),
        })
        .await;
        let upstream = upstream(&server.url());
        assert_eq!(found(upstream.tags(&repository(), &anyone()).await).len(), 30);
        turned.store(true, Ordering::SeqCst);
        for _ in 0..2 {
            assert_eq!(found(upstream.tags(&repository(), &anyone()).await).len(), 250);
        }
    }
}

/// A listing of which no more comes than its beginning.
fn endless(beginning: &'static str) -> Response<Body> {
    let begun = futures_util::stream::once(async move { Ok::<_, BoxError>(Frame::data(Bytes::from(beginning))) });
    Response::new(Body::stream(StreamBody::new(
        begun.chain(futures_util::stream::pending()),
    )))
}

/// What begins anew after the last name is read to its end: only a page that holds that name again is the whole listing.
#[tokio::test]
async fn a_listing_that_is_sent_again_for_one_name_is_not_read_again() {
    let server = Scripted::start(|request| match parameter(&request, "n") {
        Some("1") => endless(r#"{"name":"team/app","tags":["b","a","#),
        _ => reply(200, &[], r#"{"tags":["b","a","c"]}"#),
    })
    .await;
    assert_eq!(names(&found(listed(&server).await)), ["a", "b", "c"]);
    assert_eq!(server.lines().len(), 3);
}

/// A registry that ignores `n` and cuts pages begins anew, too, where the last name moved just then.
#[tokio::test]
async fn a_page_that_begins_anew_without_the_last_name_is_no_end() {
    let server = Scripted::start(|request| match parameter(&request, "last") {
        None => reply(200, &[], r#"{"tags":["b","a","c"]}"#),
        Some(_) => reply(200, &[], r#"{"tags":["b","a","d"]}"#),
    })
    .await;
    let reason = invalid(listed(&server).await);
    assert!(reason.contains("faster than it can be read"), "{reason}");
}

#[tokio::test]
async fn links_are_understood_or_fail() {
    let with = |link: &'static str| async move {
        let server = Scripted::start(move |request| {
            let link = link.replace('U', "/v2/team/app/tags/list?last=b");
            match parameter(&request, "last") {
                None => reply(200, &[("link", &link)], r#"{"tags":["a","b"]}"#),
                Some(_) => reply(200, &[], r#"{"tags":["c"]}"#),
            }
        })
        .await;
        listed(&server).await
    };
    for link in [
        "<U>",
        "U; rel=\"next\"",
        "<U>; rel='next'",
        "<U>;; rel=next",
        "<U>; rel=prev, <U>; rel=next",
    ] {
        assert_eq!(names(&found(with(link).await)), ["a", "b", "c"], "{link}");
    }
    for link in ["<U>; rel=nextish", "<U", "next", "<U>; rel=next, <?last=c>; rel=next"] {
        let reason = invalid(with(link).await);
        assert!(reason.contains("Link"), "{link}: {reason}");
    }
}

/// Relations that say nothing of a next page are no end where names follow.
#[tokio::test]
async fn links_to_other_pages_are_no_end() {
    for relation in ["last", "first prev", "https://r.example/relation"] {
        let server = Scripted::start(move |request| {
            let link = format!("</v2/team/app/tags/list?last=b>; rel=\"{relation}\"");
            match parameter(&request, "last") {
                None => reply(200, &[("link", &link)], r#"{"tags":["a","b"]}"#),
                Some("b") => reply(200, &[], r#"{"tags":["c"]}"#),
                Some(_) => reply(200, &[], r#"{"tags":[]}"#),
            }
        })
        .await;
        assert_eq!(names(&found(listed(&server).await)), ["a", "b", "c"], "{relation}");
    }
}

#[tokio::test]
async fn only_a_plain_200_is_a_page() {
    let empty = r#"{"tags":[]}"#;
    for (status, headers, body) in [
        (203, vec![], empty),
        (204, vec![], ""),
        (206, vec![], empty),
        (200, vec![("content-encoding", "gzip")], empty),
        (200, vec![], r#"{"errors":[{"code":"UNAVAILABLE"}],"tags":[]}"#),
    ] {
        let said = headers.clone();
        let server = Scripted::start(move |_| reply(status, &said, body)).await;
        invalid(listed(&server).await);
        let asked = server.take();
        assert_eq!(
            asked[0].header("accept-encoding"),
            Some("identity"),
            "{status} {headers:?}"
        );
    }
}

/// The upstream's pages are at another host, 127.0.0.2, whose links are what `link` makes of a query.
async fn redirected(link: fn(&str) -> String) -> (Scripted, Scripted) {
    let there = Scripted::start_at("127.0.0.2", move |request| {
        let last = parameter(&request, "last").unwrap_or_default().to_owned();
        let all = ["a", "b", "c", "d"];
        let rest: Vec<&str> = all.into_iter().filter(|name| *name > last.as_str()).collect();
        let link = format!("<{}>; rel=next", link(&format!("last={}", rest.get(1).unwrap_or(&""))));
        let headers: &[(&str, &str)] = if rest.len() > 2 { &[("link", &link)] } else { &[] };
        let page = &rest[..rest.len().min(2)];
        reply(200, headers, serde_json::json!({ "tags": page }).to_string())
    })
    .await;
    let target = there.url();
    let front = Scripted::start(move |request| {
        let query = request.uri().query().unwrap_or_default();
        let location = format!("{target}/v2/proj/images/app/tags/list?{query}");
        reply(307, &[("location", &location)], "")
    })
    .await;
    (front, there)
}

#[tokio::test]
async fn pages_elsewhere_go_on_from_where_they_are_without_credentials() {
    let (front, there) = redirected(|query| format!("/v2/proj/images/app/tags/list?{query}")).await;
    let trusting = upstream_with(&front.url(), |config, _| {
        config.redirect_hosts.insert("127.0.0.2".into());
    });
    let tags = found(trusting.tags(&repository(), &alice()).await);
    assert_eq!(names(&tags), ["a", "b", "c", "d"]);
    let asked = there.take();
    assert!(asked.len() >= 2);
    for request in &asked {
        assert!(request.line.contains("/v2/proj/images/app/") && request.header("authorization").is_none());
    }
    front.take();

    invalid(upstream(&front.url()).tags(&repository(), &alice()).await);
    assert!(there.take().is_empty(), "the policy does not admit it");
}

#[tokio::test]
async fn pages_elsewhere_lead_nowhere_else() {
    for link in [
        (|query| format!("http://127.0.0.3:1/v2/app/tags/list?{query}")) as fn(&str) -> String,
        |query| format!("http://127.0.0.2:1/v2/app/tags/list?{query}"),
        |query| format!("https://127.0.0.2/v2/app/tags/list?{query}"),
    ] {
        let (front, _there) = redirected(link).await;
        let trusting = upstream_with(&front.url(), |config, _| {
            config
                .redirect_hosts
                .extend(["127.0.0.2".to_owned(), "127.0.0.3".to_owned()]);
        });
        let reason = invalid(trusting.tags(&repository(), &alice()).await);
        assert!(reason.contains("yet another host"), "{reason}");
    }
}

/// Only who states that there is no such question says that `last` is of no use; what else refuses it may be of one moment.
#[tokio::test]
async fn a_refusal_of_the_question_after_the_last_name_is_no_end() {
    for (honours_n, cap) in [(false, 100), (true, 1000)] {
        for status in [400, 402, 404, 408, 409, 412, 418, 421, 422, 423, 425] {
            let form = Form {
                honours_n,
                cap,
                links_below: cap,
                ..CRANE
            };
            let server = Scripted::start(move |request| match parameter(&request, "last") {
                Some(_) => oci_error(status, "DENIED"),
                None => form.answer(&sorted(cap + 50), &request),
            })
            .await;
            let reason = invalid(listed(&server).await);
            assert!(reason.contains(&status.to_string()), "{reason}");
        }
    }
}

/// Of names in an order of its own, a registry must show that `last` goes by it.
#[tokio::test]
async fn a_refusal_to_show_the_order_of_names_is_no_end() {
    let form = Form {
        honours_n: false,
        cap: 100,
        last: Last::Place,
        ..CRANE
    };
    for status in [401, 403] {
        let server = Scripted::start(
            move |request| match (parameter(&request, "n"), parameter(&request, "last")) {
                (Some("1"), Some(_)) => oci_error(status, "DENIED"),
                _ => form.answer(&unsorted(150), &request),
            },
        )
        .await;
        let listed = listed(&server).await;
        assert!(
            matches!(&listed, Ok(Answer::Refused(refusal)) if refusal.status == status),
            "{listed:?}"
        );
    }
}

#[tokio::test]
async fn names_from_amidst_the_listing_are_no_end() {
    let all = sorted(150);
    let server = Scripted::start(move |request| {
        let page = match parameter(&request, "last") {
            None => &all[..100],
            Some(_) => &all[50..],
        };
        reply(200, &[], serde_json::json!({ "tags": page }).to_string())
    })
    .await;
    assert!(invalid(listed(&server).await).contains("repeats"));
}

#[tokio::test]
async fn an_empty_page_with_a_link_to_anything_is_no_end() {
    for tags in ["[]", "null", r#"["a"]"#] {
        let registry = Scripted::start(move |_| {
            let link = "</v2/team/app/tags/list?page=2>; rel=\"last\"";
            reply(200, &[("link", link)], format!(r#"{{"tags":{tags}}}"#))
        })
        .await;
        let reason = invalid(upstream(&registry.url()).tags(&repository(), &anyone()).await);
        assert!(reason.contains("Link"), "{tags}: {reason}");
    }
}

#[tokio::test]
async fn a_link_to_anything_but_the_next_page_is_no_end_where_last_is_of_no_use() {
    for relation in ["last", "first", "prev"] {
        let registry = Scripted::start(move |_| {
            let link = format!("</v2/team/app/tags/list?page=2>; rel=\"{relation}\"");
            reply(200, &[("link", &link)], r#"{"tags":["a","b","c"]}"#)
        })
        .await;
        invalid(upstream(&registry.url()).tags(&repository(), &anyone()).await);
    }
}
