//! The fakes themselves: a quirk that is not there proves nothing.

use crate::support;
use crate::support::fake::knobs::{
    Auth, Heads, Last, Link, LinkForm, Moved, Native, Referrers, Rights, Shown, TagPages, TooMany,
};
use crate::support::fake::{Fake, Trouble, profiles};
use crate::support::{Endpoint, Reply};
use http::Method;

async fn full(knobs: support::fake::Knobs) -> Fake {
    let fake = Fake::start(knobs).await;
    let image = fake.image("app", "zz", "one");
    for number in 0..250 {
        fake.put_pushed("app", &format!("t{:03}", (number * 7) % 250), &image);
    }
    fake
}

fn tags(reply: &Reply) -> Vec<String> {
    let tags = reply.json()["tags"].as_array().cloned().unwrap_or_default();
    tags.iter()
        .map(|tag| tag.as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Follows `Link`s as they are written.
async fn all(endpoint: &Endpoint, first: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut next = Some(first.to_owned());
    while let Some(path) = next {
        let reply = endpoint.get(&path).await.expect_status(200);
        all.extend(tags(&reply));
        let link = reply
            .header("link")
            .map(|link| link.trim_start_matches('<').split('>').next());
        next = link.flatten().map(str::to_owned);
    }
    all
}

#[tokio::test]
async fn ghcr_wants_a_token_and_lists_the_oldest_first() {
    let fake = full(profiles::ghcr()).await;
    let refused = fake.endpoint().get("/v2/app/tags/list").await.expect_status(401);
    let challenge = refused.header("www-authenticate").unwrap().to_owned();
    assert!(
        challenge.ends_with(",service=\"ghcr.io\",scope=\"repository:app:pull\""),
        "{challenge}"
    );
    fake.endpoint().basic("me", "pw").get("/v2/").await.expect_status(403);
    let token = fake
        .endpoint()
        .get("/token?service=ghcr.io&scope=repository:app:pull")
        .await;
    let token = token.json()["token"].as_str().unwrap().to_owned();
    let endpoint = fake.endpoint().authorization(&format!("Bearer {token}"));
    let listed = all(&endpoint, "/v2/app/tags/list").await;
    assert_eq!(
        (listed.len(), &listed[0], &listed[2]),
        (251, &"zz".to_owned(), &"t007".to_owned())
    );
    assert_eq!(tags(&endpoint.get("/v2/app/tags/list?last=nowhere").await), [""; 0]);
    endpoint.get("/v2/other/tags/list").await.expect_status(401);
    endpoint
        .get(&format!("/v2/app/referrers/sha256:{}", "0".repeat(64)))
        .await
        .expect_status(404);
    fake.turn(|knobs| knobs.referrers = Referrers::WebPage);
    let page = endpoint
        .get(&format!("/v2/app/referrers/sha256:{}", "0".repeat(64)))
        .await
        .expect_status(303);
    let page = endpoint.get(page.header("location").unwrap()).await.expect_status(429);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
}

#[tokio::test]
async fn ghcr_keeps_blobs_elsewhere_and_uploads_under_a_name_of_its_own() {
    let fake = full(profiles::ghcr()).await;
    let endpoint = fake.endpoint().authorization(&Fake::bearer("app", "pull,push"));
    let started = endpoint
        .send(Method::POST, "/v2/app/blobs/uploads/", &[], "")
        .await
        .expect_status(202);
    let location = started.header("location").unwrap();
    assert!(location.starts_with("/v2/app/blobs/upload/"), "{location}");
    let digest = fake.blob("app", "content");
    let octets = [("content-type", "application/octet-stream")];
    let done = endpoint
        .send(Method::PUT, &format!("{location}&digest={digest}"), &octets, "content")
        .await;
    done.expect_status(201);
    let there = endpoint
        .get(&format!("/v2/app/blobs/{digest}"))
        .await
        .expect_status(307);
    let there = there.header("location").unwrap().to_owned();
    let storage = Endpoint::new(fake.elsewhere());
    assert_eq!(storage.get(&there).await.expect_status(200).body, "content");
    storage.head(&there).await.expect_status(403);
    storage.authorization("Bearer x").get(&there).await.expect_status(400);
    assert_eq!(fake.requests_elsewhere().len(), 3);
    endpoint.delete("/v2/app/manifests/zz").await.expect_status(405);
}

#[tokio::test]
async fn ecr_objects_to_much() {
    let fake = full(profiles::ecr()).await;
    fake.endpoint().get("/v2/").await.expect_status(401);
    let endpoint = fake.endpoint().basic("AWS", "ecr-token");
    endpoint.get("/v2/app/tags/list?n=1001").await.expect_status(405);
    endpoint.get("/v2/app/tags/list?last=t100").await.expect_status(400);
    assert_eq!(all(&endpoint, "/v2/app/tags/list?n=100").await.len(), 251);
    let image = endpoint.manifest("app", "zz").await.expect_status(200);
    let image = support::Pushed::of(support::content::IMAGE, &image.json());
    let again = endpoint.put_bytes("app", "zz", &image).await.expect_status(400);
    assert_eq!(again.json()["errors"][0]["code"], "TAG_INVALID");
    let artifact = support::Pushed::of(support::content::IMAGE, &support::content::artifact(&image, "x/y", "a"));
    let refused = endpoint.put_bytes("app", "new", &artifact).await.expect_status(405);
    assert_eq!(refused.json()["errors"][0]["code"], "UNSUPPORTED");
    fake.turn(|knobs| {
        knobs.auth = Auth::Aws {
            password: "ecr-token".to_owned(),
            expired: true,
        }
    });
    let expired = endpoint.get("/v2/").await.expect_status(403);
    assert_eq!(expired.header("www-authenticate"), None);
}

#[tokio::test]
async fn tag_pages_come_in_every_shape() {
    for knobs in [
        profiles::distribution_3_0_0(),
        profiles::distribution_3_1(TooMany::Invalid),
        profiles::zot(),
        profiles::quay(false),
        profiles::quay(true),
        profiles::gitea(),
        profiles::acr(),
        profiles::harbor(),
    ] {
        let shape = format!("{:?}", knobs.tags);
        let fake = full(knobs).await;
        let mut listed = all(&fake.endpoint(), "/v2/app/tags/list").await;
        listed.sort();
        listed.dedup();
        assert_eq!(listed.len(), 251, "{shape}");
    }
}

#[tokio::test]
async fn a_seek_to_nowhere_differs() {
    let fake = full(profiles::distribution_3_0_0()).await;
    let seek = async || tags(&fake.endpoint().get("/v2/app/tags/list?last=t248x").await);
    assert_eq!(seek().await, ["zz"]);
    fake.turn(|knobs| knobs.tags.as_mut().unwrap().last = Last::Seeks);
    assert_eq!(seek().await, ["t249", "zz"]);
    fake.turn(|knobs| knobs.tags.as_mut().unwrap().last = Last::MustExist);
    assert_eq!(seek().await, [""; 0]);
}

#[tokio::test]
async fn links_lead_astray() {
    let pages = TagPages {
        page: Some(10),
        ..TagPages::default()
    };
    let fake = full(profiles::tags(pages)).await;
    for link in [Link::Internal, Link::Loop, Link::Elsewhere, Link::Endless] {
        fake.turn(|knobs| knobs.tags.as_mut().unwrap().link = link);
        let reply = fake.endpoint().get("/v2/app/tags/list").await.expect_status(200);
        assert!(reply.header("link").is_some(), "{link:?}");
    }
    let artifactory = full(profiles::artifactory()).await;
    let reply = artifactory.endpoint().get("/v2/app/tags/list").await.expect_status(200);
    assert!(reply.header("link").unwrap().starts_with("</v2/app/tags/list?last=100"));
}

#[tokio::test]
async fn gitlab_returns_the_subject_for_its_referrers_tag() {
    let fake = full(profiles::gitlab()).await;
    let image = fake.image("app", "v1", "two");
    let reply = fake
        .endpoint()
        .manifest("app", &image.referrers_tag())
        .await
        .expect_status(200);
    assert_eq!(reply.body, image.bytes);
}

#[tokio::test]
async fn trouble_comes_as_often_as_it_is_told() {
    let fake = full(support::fake::Knobs::default()).await;
    fake.trouble_times(1, Trouble::Close, |_| true);
    assert!(fake.endpoint().try_get("/v2/").await.is_err());
    fake.endpoint().get("/v2/").await.expect_status(200);
    fake.trouble(Trouble::Cut(3), |seen| seen.path.contains("tags"));
    assert!(fake.endpoint().try_get("/v2/app/tags/list").await.is_err());
    fake.heal();
    fake.trouble(Trouble::ghcr_limit("880.092µs"), |_| true);
    fake.endpoint().get("/v2/").await.expect_status(429);
    assert_eq!(fake.count(|seen| seen.path == "/v2/"), 3);
}

/// All but the proper form of a link, behind a registry of 251 tags in pages of 100.
#[tokio::test]
async fn links_are_written_in_every_form() {
    let pages = TagPages {
        greatest_n: Some(100),
        page: Some(100),
        ..TagPages::default()
    };
    let fake = full(profiles::tags(pages)).await;
    for form in LinkForm::ALL {
        fake.turn(|knobs| knobs.tags.as_mut().unwrap().link_form = form);
        let reply = fake.endpoint().get("/v2/app/tags/list?n=1000").await.expect_status(200);
        let link = String::from_utf8_lossy(reply.headers["link"].as_bytes()).into_owned();
        assert!(link.contains("/v2/app/tags/list?last=t099&n=100"), "{form:?}: {link}");
    }
}

#[tokio::test]
async fn a_proxy_cache_lists_what_it_was_asked_for() {
    let fake = full(profiles::tags(TagPages::default())).await;
    let shown = Shown::Only {
        names: ["t001".to_owned()].into(),
        asked_join: true,
    };
    fake.turn(|knobs| knobs.tags.as_mut().unwrap().shown = shown);
    let listed = async || tags(&fake.endpoint().get("/v2/app/tags/list").await);
    assert_eq!(listed().await, ["t001"]);
    fake.endpoint().manifest("app", "zz").await.expect_status(200);
    assert_eq!(listed().await, ["t001", "zz"]);
}

#[tokio::test]
async fn pages_may_be_at_another_host() {
    let mut knobs = profiles::tags(TagPages {
        greatest_n: Some(100),
        ..TagPages::default()
    });
    knobs.moved = Moved::Reads;
    let fake = full(knobs).await;
    for path in ["/v2/app/tags/list?n=1000", "/v2/app/manifests/zz"] {
        let moved = fake.endpoint().get(path).await.expect_status(307);
        let there = moved.header("location").unwrap();
        assert_eq!(there, format!("{}/v2/mirror{path}", fake.elsewhere()));
        let reply = Endpoint::new(fake.elsewhere())
            .get_with(there, &[("accept", support::content::ANY)])
            .await;
        let reply = reply.expect_status(200);
        let link = reply.header("link");
        assert!(
            link.is_none_or(|link| link.starts_with("</v2/mirror/v2/app/tags/list?")),
            "{link:?}"
        );
    }
}

#[tokio::test]
async fn heads_rights_and_limits_differ() {
    let fake = full(support::fake::Knobs::default()).await;
    let endpoint = fake.endpoint();
    let accept = [("accept", support::content::ANY)];
    let head = async || endpoint.send(Method::HEAD, "/v2/app/manifests/zz", &accept, "").await;
    fake.turn(|knobs| knobs.heads = Heads::WithoutDigest);
    assert_eq!(head().await.expect_status(200).header("docker-content-digest"), None);
    fake.turn(|knobs| knobs.heads = Heads::Answers(405));
    head().await.expect_status(405);
    endpoint.manifest("app", "zz").await.expect_status(200);

    fake.turn(|knobs| knobs.pull_limit = Some(1));
    let pulled = endpoint.manifest("app", "zz").await.expect_status(200);
    assert_eq!(pulled.header("ratelimit-remaining"), Some("0;w=21600"));
    endpoint.manifest("app", "zz").await.expect_status(429);

    fake.turn(|knobs| {
        knobs.pull_limit = None;
        knobs.rights = Rights {
            insider: Some("Bearer in"),
            listing: Some(401),
            ..Rights::default()
        };
    });
    endpoint.get("/v2/app/tags/list").await.expect_status(401);
    endpoint.manifest("app", "zz").await.expect_status(200);
    let insider = fake.endpoint().authorization("Bearer in");
    insider.get("/v2/app/tags/list").await.expect_status(200);
    fake.turn(|knobs| knobs.rights.hidden = true);
    let hidden = endpoint.manifest("app", "zz").await.expect_status(404);
    assert_eq!(hidden.error_code(), "NAME_UNKNOWN");
}

#[tokio::test]
async fn a_list_of_referrers_has_pages_and_other_lists_beside_it() {
    let fake = Fake::start(support::fake::Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    for title in ["a", "b", "c"] {
        fake.artifact("app", "", &image, "x/y", title);
    }
    fake.turn(|knobs| {
        knobs.referrers = Referrers::Native(Native {
            page: Some(2),
            unknown_is_empty_404: true,
            ..Native::default()
        });
        knobs.referrers_in.insert("plain", Referrers::PageNotFound);
    });
    let path = format!("/v2/app/referrers/{}", image.digest);
    let first = fake.endpoint().get(&path).await.expect_status(200);
    let link = first
        .header("link")
        .unwrap()
        .split(['<', '>'])
        .nth(1)
        .unwrap()
        .to_owned();
    let second = fake.endpoint().get(&link).await.expect_status(200);
    let lengths = [first, second].map(|reply| reply.json()["manifests"].as_array().unwrap().len());
    assert_eq!(lengths, [2, 1]);
    let unknown = fake
        .endpoint()
        .get("/v2/app/referrers/sha256:".to_owned().as_str())
        .await;
    assert_eq!(unknown.status, 404);
    let plain = fake
        .endpoint()
        .get(&format!("/v2/plain/referrers/{}", image.digest))
        .await;
    assert_eq!(plain.expect_status(404).text(), "404 page not found\n");
}

#[tokio::test]
async fn trouble_spares_some_and_bends_answers() {
    let fake = full(support::fake::Knobs::default()).await;
    fake.trouble_after(1, Some(1), Trouble::oci(404, "DENIED", "no"), |_| true);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(fake.endpoint().get("/v2/").await.status);
    }
    assert_eq!(statuses, [200, 404, 200]);
    fake.trouble(Trouble::Gzip, |_| true);
    let reply = fake.endpoint().get("/v2/app/tags/list").await.expect_status(200);
    assert_eq!(
        (reply.header("content-encoding"), &reply.body[..2]),
        (Some("gzip"), &[0x1f, 0x8b][..])
    );
}
