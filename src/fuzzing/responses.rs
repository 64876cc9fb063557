//! What registries answer: headers, tag pages, tokens.

use std::time::{Duration, UNIX_EPOCH};

use http::header::{LINK, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use super::two_texts;
use crate::auth::{Bearer, Challenge, Credentials, Token, TokenRequest, challenges};
use crate::proxy::fuzzing::SelfView;
use crate::registry::fuzzing::{TagNamesBuilder, next_link, parse_tag_page, retry_after as wait};

fn header(name: HeaderName, value: &[u8]) -> Option<HeaderMap> {
    Some(HeaderMap::from_iter([(name, HeaderValue::from_bytes(value).ok()?)]))
}

/// `Link`.
pub(super) fn link(bytes: &[u8]) {
    if let Some(headers) = header(LINK, bytes)
        && let Ok(Some(next)) = next_link(&headers)
    {
        assert!(!next.contains('>'), "{next}");
    }
}

/// `WWW-Authenticate`.
pub(super) fn challenge(bytes: &[u8]) {
    let Some(headers) = header(WWW_AUTHENTICATE, bytes) else {
        return;
    };
    let identity = Credentials::IdentityToken("i".to_owned());
    for challenge in challenges(&headers) {
        let Challenge::Bearer(bearer) = challenge else {
            continue;
        };
        let scopes = ["repository:a:pull".to_owned()];
        for credentials in [None, Some(&identity)] {
            let Ok(request) = TokenRequest::new(&bearer, &scopes, credentials, true) else {
                continue;
            };
            let realm = Url::parse(&bearer.realm).expect("a realm that can be asked is a URL");
            assert!(credentials.is_none() || realm.scheme() == "https", "{realm}");
            assert_eq!(request.uri.host(), realm.host_str(), "{realm}");
            assert_eq!(request.form.is_some(), credentials.is_some());
        }
    }
}

/// `Retry-After`, and after a line break the body that may say the same.
pub(super) fn retry_after(bytes: &[u8]) {
    let Some((value, body)) = two_texts(bytes) else {
        return;
    };
    let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
    let Some(headers) = header(RETRY_AFTER, value.as_bytes()) else {
        return;
    };
    let waited = wait(&headers, body.as_bytes(), now);
    if let Ok(seconds) = value.trim().parse::<u32>()
        && value.is_ascii()
        && !value.contains('+')
    {
        assert_eq!(waited, Some(Duration::from_secs(seconds.into())));
    }
}

/// A page of tags: what is read is what a plain JSON parser sees.
pub(super) fn tag_page(bytes: &[u8]) {
    let mut names = TagNamesBuilder::default();
    if parse_tag_page(bytes, &mut names).is_err() {
        return;
    }
    let read: Vec<&str> = (0..names.len()).map(|index| names.get(index)).collect();
    // Numbers beyond every type and deep nesting are skipped where they are of no interest.
    if let Ok(page) = serde_json::from_slice::<Value>(bytes) {
        let listed = page["tags"].as_array().into_iter().flatten();
        let listed: Vec<&str> = listed.map(|tag| tag.as_str().expect("a name is a text")).collect();
        assert_eq!(read, listed);
    }
}

/// A token server's answer.
pub(super) fn token(bytes: &[u8]) {
    if let Some(token) = Token::parse(bytes) {
        assert!(!token.token.is_empty());
        let bearer = Bearer {
            realm: "http://127.0.0.1/t?a=b".to_owned(),
            ..Bearer::default()
        };
        assert!(TokenRequest::new(&bearer, &[token.token], None, false).is_ok());
    }
}

/// `Location`, and after a line break the path that was asked for.
pub(super) fn location(bytes: &[u8]) {
    let Some((value, path)) = two_texts(bytes) else {
        return;
    };
    if HeaderValue::from_str(value).is_err() || !path.starts_with('/') {
        return;
    }
    for registry in ["https://r.example", "http://r.example:5000/base"] {
        let view = SelfView::new(&Url::parse(registry).expect("a URL"));
        let location = view.location(value, path);
        assert!(location.starts_with('/') || location.contains(':'), "{location}");
        let link = view.link(value, path);
        assert_eq!(
            link.contains(['\r', '\n']),
            path.contains(['\r', '\n']) && link.contains(['\r', '\n'])
        );
        if let Some((challenge, realm)) = view.challenge(value, "http://127.0.0.1:5100", Some("ns=r")) {
            assert!(challenge.contains("http://127.0.0.1:5100"));
            assert!(realm.starts_with('/'));
        }
    }
}
