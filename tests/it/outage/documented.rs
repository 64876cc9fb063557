//! `docs/outages.md`, row by row: every request of refshim's meets the same trouble, and its callers see what the row says.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;

use super::TYPE;
use crate::support::content::{ANY, IMAGE, artifact};
use crate::support::exchange::{self, HttpError, Protocol};
use crate::support::fake::knobs::Knobs;
use crate::support::fake::{Fake, Trouble};
use crate::support::{Endpoint, Pushed, Refshim, Reply, within};

const DOCUMENT: &str = include_str!("../../../docs/outages.md");
/// More than any answer that ends.
const WITHOUT_END: usize = 8 << 20;
/// The columns between the trouble and the test's name.
const QUESTIONS: usize = 6;

/// What the document says a caller sees, by the name of the test.
fn rows() -> BTreeMap<&'static str, Vec<&'static str>> {
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| ")).map(cells);
    let tested = rows.filter_map(|mut cells| {
        let name = cells.pop()?.strip_prefix('`')?.strip_suffix('`')?;
        (cells.len() == QUESTIONS + 1).then(|| (name, cells.split_off(1)))
    });
    tested.collect()
}

/// One test for each trouble, under the name that the document gives it.
macro_rules! documented {
    ($($name:ident: $trouble:expr;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let seen = Case::new().await.meet($trouble).await;
                assert_eq!(Some(&seen), rows().get(stringify!($name)), "docs/outages.md");
            }
        )*

        #[test]
        fn every_row_of_the_document_is_a_test() {
            let documented: Vec<&str> = rows().into_keys().collect();
            let mut tested = vec![$(stringify!($name)),*];
            tested.sort_unstable();
            assert_eq!(documented, tested);
        }
    };
}

documented! {
    refused_connections: None;
    closed_connections: Some(Trouble::Close);
    silence: Some(Trouble::Silence);
    slow_bodies: Some(Trouble::Trickle(std::time::Duration::from_millis(1)));
    bodies_that_break_off: Some(Trouble::Cut(20));
    bodies_that_stall: Some(Trouble::Stall(20));
    limits_with_a_header: Some(limit(429, Some("60")));
    limits_with_ghcrs_message: Some(Trouble::ghcr_limit("1m0s"));
    limits_without_a_time: Some(limit(429, None));
    overload_with_a_header: Some(limit(503, Some("60")));
    overload_without_a_time: Some(limit(503, None));
    server_errors: Some(Trouble::html(500));
    web_pages_with_200: Some(Trouble::html(200));
    lengths_too_great: Some(Trouble::Length(10));
    lengths_too_small: Some(Trouble::Length(-10));
    broken_json: Some(Trouble::answer(200, &[("content-type", "application/json")], r#"{"tags":["v1""#));
    endless_bodies: Some(Trouble::Endless("{\"tags\":[\"v1\"],\"x\":["));
    redirects_in_circles: Some(Trouble::answer(307, &[("location", "/v2/app/tags/list")], ""));
    redirects_to_a_private_address: Some(Trouble::answer(307, &[("location", "http://127.0.0.2:9/x")], ""));
    wrong_digests_in_headers: Some(Trouble::header("docker-content-digest", &format!("sha256:{}", "0".repeat(64))));
    wrong_bytes: Some(Trouble::Body(Bytes::from_static(b"{\"other\":1}")));
}

fn limit(status: u16, retry_after: Option<&str>) -> Trouble {
    let headers: Vec<_> = retry_after.iter().map(|&text| ("retry-after", text)).collect();
    Trouble::answer(status, &headers, "")
}

/// A subject whose referrers were asked for before, and one that nobody asked about.
struct Case {
    fake: Fake,
    refshim: Refshim,
    known: (Pushed, Pushed),
    unknown: (Pushed, Pushed),
    blob: String,
}

impl Case {
    async fn new() -> Self {
        let fake = Fake::start(Knobs::default()).await;
        let refshim = Refshim::builder(&fake.url())
            .env("REFSHIM_UPSTREAM__0__CONNECT_TIMEOUT", "1s")
            .env("REFSHIM_UPSTREAM__0__FIRST_BYTE_TIMEOUT", "2s")
            .env("REFSHIM_UPSTREAM__0__IDLE_TIMEOUT", "2s")
            .env("REFSHIM_UPSTREAM__0__RETRIES", "0")
            .env("REFSHIM_LIMITS__TAG_LIST_BYTES", "1000000")
            .env("REFSHIM_CACHE__FRESH_FOR", "0s")
            .env("REFSHIM_CACHE__STALE_WHILE_REVALIDATE", "0s")
            .start()
            .await;
        let pair = |tag: &str| {
            let subject = fake.image("app", tag, tag);
            let referrer = fake.tagged_artifact("app", &subject, TYPE, &format!("of {tag}"));
            (subject, referrer)
        };
        let (known, unknown) = (pair("v1"), pair("v2"));
        let blob = fake.blob("app", vec![b'x'; 1000]).to_string();
        let listed = refshim.endpoint().referrer_digests("app", &known.0.digest).await;
        assert_eq!(listed, [known.1.digest.as_str()]);
        Self {
            fake,
            refshim,
            known,
            unknown,
            blob,
        }
    }

    /// What callers see while everything meets `trouble`, or while there is no registry.
    async fn meet(self, trouble: Option<Trouble>) -> Vec<&'static str> {
        let fake = match trouble {
            Some(trouble) => {
                self.fake.trouble(trouble, |_| true);
                Some(self.fake)
            }
            None => {
                drop(self.fake);
                None
            }
        };
        let through = self.refshim.endpoint();
        let blob = format!("/v2/app/blobs/{}", self.blob);
        // A pull tells refshim where its tag leads, so the searches come before it.
        let asked = async { tokio::join!(referrers(&through, &self.known), referrers(&through, &self.unknown)) };
        let (known, unknown) = within("the questions are answered", asked).await;
        let asked = async {
            tokio::join!(
                pull(&through, "/v2/app/tags/list"),
                pull(&through, "/v2/app/manifests/v2"),
                pull(&through, &blob),
            )
        };
        let (tags, manifest, blob) = within("the pulls are answered", asked).await;
        // A push that may have done something ends what is known, so it comes last.
        let pushed = Pushed::of(IMAGE, &artifact(&self.known.0, TYPE, "pushed"));
        let to = format!("/v2/app/manifests/{}", pushed.digest);
        let push = through.try_send(Method::PUT, &to, &[("content-type", IMAGE)], pushed.bytes.clone());
        let push = outcome(&within("the push is answered", push).await);
        drop(fake);
        let seen = [known, unknown, tags, manifest, blob, push];
        seen.into_iter().map(|text| &*text.leak()).collect()
    }
}

async fn referrers(through: &Endpoint, (subject, referrer): &(Pushed, Pushed)) -> String {
    let reply = through.referrers_reply("app", &subject.digest).await;
    if reply.status != 200 {
        // Whatever the registry said, in the form in which registries give errors.
        reply.error_code();
        return outcome(&Ok(reply));
    }
    let listed = reply.json()["manifests"].clone();
    let listed: Vec<_> = listed
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| &entry["digest"])
        .collect();
    assert_eq!(listed, [referrer.digest.as_str()], "{reply:?}");
    match (reply.header("warning"), reply.header("age")) {
        (None, None) => "list".to_owned(),
        (Some(warning), Some(_)) if warning.starts_with("299 - \"refshim ") => "stale list".to_owned(),
        _ => panic!("{reply:?}"),
    }
}

async fn pull(through: &Endpoint, path: &str) -> String {
    let request = through.request(Method::GET, path, &[("accept", ANY)], Bytes::new());
    let response = exchange::open(Protocol::Http1, request).await;
    let response = response.unwrap_or_else(|error| panic!("{path}: {error}"));
    let (head, mut body) = response.into_parts();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return "breaks off".to_owned();
        };
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > WITHOUT_END {
            return "without end".to_owned();
        }
    }
    let reply = Reply {
        status: head.status.as_u16(),
        headers: head.headers,
        body: Bytes::new(),
    };
    outcome(&Ok(reply))
}

/// The status, and whether it says when to come back.
fn outcome(answer: &Result<Reply, HttpError>) -> String {
    match answer {
        Ok(reply) if reply.header("retry-after").is_some() => format!("{} with a time", reply.status),
        Ok(reply) => reply.status.to_string(),
        Err(_) => "breaks off".to_owned(),
    }
}
