//! Writes of refshim's own that must not overwrite what somebody else wrote since it was read: conditions (RFC 9110, 13.1) as an
//! optimistic lock.
//!
//! A registry that knows no conditions ignores them, so nothing is asked only to find out. One that refuses under a condition again and
//! again although nothing has changed, and then takes the same write without it, checks something else than the `ETag` that it gives
//! (of a gateway, say): there refshim goes without conditions for a while ([`WriteConditions`]).
//!
//! [`WriteConditions`]: crate::registry::capabilities::write_conditions::WriteConditions

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::Upstream;
use super::write_condition::WriteCondition;
use crate::oci::{Digest, Reference, RepositoryName};
use crate::registry::answer::RegistryResponse;
use crate::registry::caller::Caller;
use crate::registry::error::UpstreamError;

/// Conditions that may fail in a row over the same content: once because another's write was undone, or a reading lagged.
const ENOUGH: usize = 2;

/// What became of a write.
#[derive(Clone, Debug)]
pub enum ConditionalReply {
    /// What the registry says to it.
    Answered(RegistryResponse),
    /// Something else is there than was read: read again.
    Moved,
}

/// What was read at the place of a write: its digest, and its ETag where the registry gives one.
pub type ReadBefore<'a> = (&'a Digest, Option<&'a HeaderValue>);

/// One change to one manifest, however often it must be tried.
pub struct OptimisticPut<'a> {
    pub upstream: &'a Upstream,
    pub repository: &'a RepositoryName,
    pub reference: &'a Reference,
    pub media_type: &'a str,
    pub caller: &'a Caller,
    failures: Failures,
}

/// How often conditions have failed in a row over the same content; `None` is none.
#[derive(Debug, Default)]
struct Failures {
    over: Option<Digest>,
    count: usize,
}

impl Failures {
    fn note(&mut self, read: Option<&Digest>) {
        self.count = if self.over.as_ref() == read { self.count + 1 } else { 1 };
        self.over = read.cloned();
    }

    fn are_enough(&self, read: Option<&Digest>) -> bool {
        self.count >= ENOUGH && self.over.as_ref() == read
    }
}

impl Upstream {
    /// A change to the manifest `reference` of `repository`.
    pub fn optimistic_put<'a>(
        &'a self,
        repository: &'a RepositoryName,
        reference: &'a Reference,
        media_type: &'a str,
        caller: &'a Caller,
    ) -> OptimisticPut<'a> {
        OptimisticPut {
            upstream: self,
            repository,
            reference,
            media_type,
            caller,
            failures: Failures::default(),
        }
    }
}

impl OptimisticPut<'_> {
    /// Writes `bytes` over what was `read`, if that is still so.
    pub async fn put(&mut self, read: Option<ReadBefore<'_>>, bytes: Bytes) -> Result<ConditionalReply, UpstreamError> {
        let digest = read.map(|(digest, _)| digest);
        let conditions = &self.upstream.capabilities.write_conditions;
        let is_in_vain = self.failures.are_enough(digest);
        let condition = match read {
            _ if is_in_vain || conditions.mislead() => None,
            Some((_, etag)) => etag.and_then(WriteCondition::unchanged),
            None => Some(WriteCondition::Absent),
        };
        let (repository, reference) = (self.repository, self.reference);
        let put = self
            .upstream
            .put_manifest_if(repository, reference, self.media_type, bytes, condition, self.caller);
        let reply = put.await?;
        if condition.is_some() && reply.status == StatusCode::PRECONDITION_FAILED {
            self.failures.note(digest);
            return Ok(ConditionalReply::Moved);
        }
        if is_in_vain && reply.status.is_success() {
            conditions.saw_them_mislead();
        }
        Ok(ConditionalReply::Answered(reply))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_given_up_where_they_fail_over_the_same_content() {
        let (one, other) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
        let mut failures = Failures::default();
        for read in [Some(&one), Some(&other), None, Some(&one)] {
            failures.note(read);
            assert!(!failures.are_enough(read), "{failures:?}");
        }
        failures.note(Some(&one));
        assert!(failures.are_enough(Some(&one)));
        assert!(!failures.are_enough(Some(&other)) && !failures.are_enough(None));
    }
}
