//! What callers send: paths, queries, page tokens.

use std::cmp::Reverse;

use http::{Method, Uri};
use percent_encoding::percent_decode_str;

use crate::oci::referrer::Position;
use crate::oci::{Digest, Reference};
use crate::proxy::fuzzing::{Route, V3Question, route as parse};
use crate::render::page::{PagedApi, Window};
use crate::render::{Filter, Query, next_link};

const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::PUT,
    Method::POST,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// The first byte chooses the method, the rest is the target.
pub(super) fn route(bytes: &[u8]) {
    let Some((first, target)) = bytes.split_first() else {
        return;
    };
    let Ok(uri) = Uri::try_from(target) else {
        return;
    };
    let method = &METHODS[usize::from(*first) % METHODS.len()];
    let Ok(found) = parse(method, &uri) else {
        return;
    };
    if uri.path().starts_with("/v2/") {
        assert!(!climbs(uri.path()), "{uri}");
    }
    if let Some(printed) = print(&found) {
        let again = parse(
            method,
            &Uri::try_from(printed).expect("what was parsed prints as a path"),
        );
        assert_eq!(again.as_ref(), Ok(&found));
    }
}

/// Whether somebody who decodes a path once or twice may leave the folder it names.
fn climbs(path: &str) -> bool {
    let once = percent_decode_str(path).decode_utf8_lossy().into_owned();
    let twice = percent_decode_str(&once).decode_utf8_lossy().into_owned();
    let leaves = |path: &str| path.split(['/', '\\']).any(|segment| segment == "..");
    [path, &once, &twice].into_iter().any(leaves)
}

fn print(route: &Route) -> Option<String> {
    let of_manifest = |name, reference: &Reference, end| format!("/v2/{name}/manifests/{}{end}", reference.as_str());
    Some(match route {
        Route::Referrers { repository, subject } => format!("/v2/{repository}/referrers/{subject}"),
        Route::ProposalA {
            shape,
            repository,
            subject,
        } => match shape.api() {
            PagedApi::ProposalA => format!("/v2/{repository}/_oci/artifacts/referrers?digest={subject}"),
            PagedApi::Oras => format!("/v2/{repository}/_oras/artifacts/referrers?digest={subject}"),
            PagedApi::OrasV1 | PagedApi::Oci11 => {
                format!("/oras/artifacts/v1/{repository}/manifests/{subject}/referrers")
            }
        },
        Route::References { repository, reference } => of_manifest(repository, reference, "/references"),
        Route::Manifest { repository, reference } => of_manifest(repository, reference, ""),
        Route::TagsList { repository } => format!("/v2/{repository}/tags/list"),
        Route::Discover { repository: None } => "/v2/_oci/ext/discover".to_owned(),
        Route::Discover {
            repository: Some(repository),
        } => format!("/v2/{repository}/_oci/ext/discover"),
        Route::V3Ping => "/v3/".to_owned(),
        Route::V3 {
            question,
            repository,
            reference,
        } => {
            let question = match question {
                V3Question::Referrers => "referrers",
                V3Question::Reference => "reference",
                V3Question::Objects => "objects",
                V3Question::Description => "description",
            };
            format!("/v3/{repository}/{question}/{}", reference.as_str())
        }
        Route::Ui(_) | Route::Passthrough { .. } => return None,
    })
}

/// What follows a question mark.
pub(super) fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let query = Query::parse(Some(text));
    let filter = Filter::from_query(&query);
    assert_eq!(
        filter.is_empty(),
        query.all("artifactType").all(str::is_empty),
        "a filter is lost, or made up"
    );
    let _ = Window::from_query(PagedApi::Oci11, &Digest::sha256(bytes), &filter, &query);
    let link = next_link("", "/v2/a/referrers/x", &query, "token");
    assert_eq!(link.matches(['<', '>']).count(), 2, "{link}");
    assert!(link.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{link}");
}

/// A page token, and one made for a position that the bytes choose.
pub(super) fn page_token(bytes: &[u8]) {
    let (subject, filter) = (Digest::sha256(b""), Filter::default());
    let window = Window::first(PagedApi::Oci11, &subject, &filter);
    let mut nanoseconds = [0; 16];
    nanoseconds.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let position = Position {
        undated: bytes.len().is_multiple_of(2),
        newest: Reverse(i128::from_be_bytes(nanoseconds)),
        digest: Digest::sha256(bytes),
    };
    assert_eq!(window.open(&window.seal(&position)), Some(position));
    let Ok(token) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(position) = window.open(token) {
        assert_eq!(window.seal(&position), token);
        let other = Window::first(PagedApi::ProposalA, &subject, &filter);
        assert_eq!(other.open(token), None, "a token opens another API's list");
    }
}
