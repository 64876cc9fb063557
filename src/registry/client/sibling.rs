//! Sibling repositories, which keep the links of others (`links.repository`), where they are, and with whose rights they are asked.

use std::fmt;
use std::sync::Arc;

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
    /// The name of the other upstream in which it is.
    pub elsewhere: Option<String>,
}

impl Sibling {
    /// Whether it is asked with the rights of refshim's account.
    pub fn is_of_account(&self) -> bool {
        self.caller.is_listing_account()
    }
}

/// As problems name it.
impl fmt::Display for Sibling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.elsewhere {
            Some(upstream) => write!(f, "{} of upstream '{upstream}'", self.repository),
            None => self.repository.fmt(f),
        }
    }
}

impl Upstream {
    /// The same, with its sibling repositories in another registry, where one is given.
    pub fn with_links_in(self, links_upstream: Option<Arc<Self>>) -> Self {
        Self { links_upstream, ..self }
    }

    /// How sibling repositories are named, where links are kept in such.
    pub fn siblings(&self) -> Option<&SiblingTemplate> {
        self.siblings.as_ref()
    }

    /// The registry that has the sibling repositories: this one, or another.
    pub fn links_upstream(self: &Arc<Self>) -> &Arc<Self> {
        self.links_upstream.as_ref().unwrap_or(self)
    }

    /// Whether sibling repositories are in another registry.
    pub fn keeps_links_elsewhere(&self) -> bool {
        self.links_upstream.is_some()
    }

    /// The sibling of `repository`, asked with the rights of refshim's account where there is one, and in another registry with no others;
    /// `None` where links are kept where the images are, as those of siblings themselves are.
    pub fn sibling(&self, repository: &RepositoryName, caller: &Caller) -> Result<Option<Sibling>, UpstreamError> {
        let Some(template) = self.siblings.as_ref().filter(|_| !self.is_sibling(repository)) else {
            return Ok(None);
        };
        let sibling = template.sibling_of(repository).map_err(|_| {
            UpstreamError::Invalid(format!(
                "the repository beside it that keeps its links ({template}) would have too long a name"
            ))
        })?;
        Ok(Some(Sibling {
            repository: sibling,
            caller: match self.links_upstream.is_some() || self.has_listing_account() {
                true => caller.listing_account(),
                false => caller.clone(),
            },
            elsewhere: self.links_upstream.as_ref().map(|other| other.name.clone()),
        }))
    }

    /// The repository of this registry whose links `repository` keeps, where it is a sibling.
    pub fn base_of(&self, repository: &RepositoryName) -> Option<RepositoryName> {
        let template = self.siblings.as_ref().filter(|_| self.links_upstream.is_none())?;
        template.base_of(repository)
    }

    /// Whether `repository` keeps the links of another, here or in another registry.
    pub fn is_sibling(&self, repository: &RepositoryName) -> bool {
        let mut of_others = self.kept_for_others.iter();
        self.base_of(repository).is_some() || of_others.any(|template| template.base_of(repository).is_some())
    }
}
