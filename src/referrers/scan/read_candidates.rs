//! What the candidates turned out to be, and what that says of the registry's own list.

use crate::oci::{Digest, LinkSource};
use crate::registry::UpstreamError;

use super::adopted::VerifiedEntry;

/// What was read of the candidates.
#[derive(Default)]
pub(super) struct ReadCandidates {
    pub entries: Vec<VerifiedEntry>,
    /// One that the registry's own API listed and that refers to something else.
    pub of_another_subject: Option<Digest>,
}

impl ReadCandidates {
    /// A list of nothing but what refers to something else is that of another subject: whoever answered took one question for another.
    pub fn check_own_list(&self) -> Result<(), UpstreamError> {
        let is_listed = |entry: &VerifiedEntry| entry.referrer.sources.contains(&LinkSource::Native);
        match &self.of_another_subject {
            Some(other) if !self.entries.iter().any(is_listed) => Err(UpstreamError::Invalid(format!(
                "its referrers API lists {other}, which refers to something else, and nothing that refers to what was asked for"
            ))),
            _ => Ok(()),
        }
    }
}
