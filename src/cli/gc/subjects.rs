//! Where subjects are looked for: in the repository of the links, and in that whose links these are (`--subjects-in`).

use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::oci::{Digest, Reference};

impl Session {
    /// The same, where what is linked may be in another repository, too.
    pub(super) fn with_subjects_in(mut self, other: Option<Self>) -> Self {
        self.subjects_in = other.map(Box::new);
        self
    }

    /// Whether the registry holds `digest`, here or in the repository whose links this one keeps.
    pub(super) async fn is_anywhere(&self, digest: &Digest) -> Result<bool, CliError> {
        let reference = Reference::Digest(digest.clone());
        if self.digest_of(&reference).await?.is_some() {
            return Ok(true);
        }
        let Some(other) = &self.subjects_in else {
            return Ok(false);
        };
        Ok(other.digest_of(&reference).await?.is_some())
    }
}
