//! What must be so for a write of refshim's own to be made (RFC 9110, 13.1).

use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue};

/// A condition that the registry is to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteCondition<'a> {
    /// There is nothing yet.
    Absent,
    /// What has this ETag is still there.
    Unchanged(&'a HeaderValue),
}

impl<'a> WriteCondition<'a> {
    /// That what has this `ETag` is still there. `None` where it is a weak one: none such ever matches (RFC 9110, 13.1.1).
    pub fn unchanged(etag: &'a HeaderValue) -> Option<Self> {
        (!etag.as_bytes().starts_with(b"W/")).then_some(Self::Unchanged(etag))
    }

    pub(super) fn state(self, headers: &mut HeaderMap) {
        match self {
            Self::Absent => headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*")),
            Self::Unchanged(etag) => headers.insert(IF_MATCH, etag.clone()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weak_etag_is_no_condition() {
        let weak = HeaderValue::from_static("W/\"x\"");
        assert_eq!(WriteCondition::unchanged(&weak), None);
    }
}
