//! The headers of a caller's own write, which go to the registry with it.

use std::fmt;

use http::HeaderMap;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, USER_AGENT,
};

use super::forward;
use crate::registry::caller::STORED_ONLY;

const CONDITIONS: [HeaderName; 4] = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];

/// What a write is, and by which program.
const OF_THE_WRITE: [HeaderName; 3] = [CONTENT_TYPE, USER_AGENT, STORED_ONLY];

/// The headers of a caller's PUT or DELETE of a manifest: conditions, user agent, and what gateways add. What refshim writes besides
/// for this caller goes without them.
#[derive(Clone)]
pub struct WriteHeaders(HeaderMap);

impl WriteHeaders {
    /// `headers` are a request's, without those that are hop-by-hop.
    pub fn of(mut headers: HeaderMap) -> Self {
        forward::clean(&mut headers);
        // Credentials are the `Caller`'s to add. The answer is read here, and what was pushed was read as it is: a registry that
        // decoded it would store another manifest than the one whose links are written.
        for name in [AUTHORIZATION, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_ENCODING] {
            headers.remove(name);
        }
        Self(headers)
    }

    /// Those of them that say nothing of who writes: what may go to a registry that is not the caller's.
    pub fn for_another_registry(&self) -> Self {
        let says_nothing = |name: &HeaderName| CONDITIONS.contains(name) || OF_THE_WRITE.contains(name);
        let kept = self.0.iter().filter(|(name, _)| says_nothing(name));
        Self(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// Whether the registry may write only under a condition (RFC 9110, 13.1).
    pub fn is_conditional(&self) -> bool {
        CONDITIONS.iter().any(|name| self.0.contains_key(name))
    }

    /// Whether the caller wants its bytes stored as they are, whatever they lack ([`STORED_ONLY`]).
    pub fn is_exact(&self) -> bool {
        self.0.contains_key(STORED_ONLY)
    }

    pub(super) fn as_map(&self) -> &HeaderMap {
        &self.0
    }
}

/// Values may be secret: gateways have tokens of their own.
impl fmt::Debug for WriteHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_another_hop_or_body_stays_here() {
        let mut headers = HeaderMap::new();
        for name in [
            "host",
            "x-forwarded-host",
            "authorization",
            "accept-encoding",
            "content-encoding",
            "content-length",
            "content-type",
            "user-agent",
        ] {
            headers.insert(name, "secret".parse().unwrap());
        }
        let kept = WriteHeaders::of(headers.clone());
        assert!(!kept.is_conditional());
        assert_eq!(format!("{kept:?}"), r#"{"content-type", "user-agent"}"#);
        headers.insert("x-jfrog-art-api", "secret".parse().unwrap());
        let for_another = WriteHeaders::of(headers.clone()).for_another_registry();
        let mut names: Vec<&str> = for_another.as_map().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "user-agent"]);
        for name in CONDITIONS {
            let mut headers = headers.clone();
            headers.insert(name, "x".parse().unwrap());
            assert!(WriteHeaders::of(headers).is_conditional());
        }
    }
}
