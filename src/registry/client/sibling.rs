//! Sibling repositories, which keep the links of others (`links.repository`), and with whose rights they are asked.

use super::Upstream;
use crate::oci::{RepositoryName, SiblingTemplate};
use crate::registry::caller::Caller;
use crate::registry::error::UpstreamError;

/// A sibling repository as it is asked on behalf of a caller.
#[derive(Clone, Debug)]
pub struct Sibling {
    pub repository: RepositoryName,
    /// The account of `links.credentials`; the caller itself where there is none, or where nothing proves its right to what the account sees.
    pub caller: Caller,
}

impl Sibling {
    /// Whether it is asked with the rights of refshim's account.
    pub fn is_of_account(&self) -> bool {
        self.caller.is_listing_account()
    }
}

impl Upstream {
    /// How sibling repositories are named, where links are kept in such.
    pub fn siblings(&self) -> Option<&SiblingTemplate> {
        self.siblings.as_ref()
    }

    /// The sibling of `repository`, asked with the rights of refshim's account where there is one; `None` where links are kept where
    /// the images are, as those of siblings themselves are.
    pub fn sibling(&self, repository: &RepositoryName, caller: &Caller) -> Result<Option<Sibling>, UpstreamError> {
        let Some(template) = &self.siblings else {
            return Ok(None);
        };
        let sibling = template.sibling_of(repository).map_err(|_| {
            UpstreamError::Invalid(format!(
                "the repository beside it that keeps its links ({template}) would have too long a name"
            ))
        })?;
        Ok(sibling.map(|repository| Sibling {
            repository,
            caller: match self.has_listing_account() {
                true => caller.listing_account(),
                false => caller.clone(),
            },
        }))
    }

    /// The repository whose links `repository` keeps, where it is a sibling.
    pub fn base_of(&self, repository: &RepositoryName) -> Option<RepositoryName> {
        self.siblings.as_ref()?.base_of(repository)
    }
}
