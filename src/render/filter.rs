//! The artifact type filter that all APIs share.

use std::collections::BTreeSet;

use super::query::Query;
use crate::oci::Referrer;

/// The artifact types that a request asks for; without any, all. They are compared byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter(BTreeSet<String>);

impl Filter {
    /// A filter for entries of any of `types`. Empty texts are ignored.
    pub fn new<T: Into<String>>(types: impl IntoIterator<Item = T>) -> Self {
        Self(types.into_iter().map(Into::into).filter(|t| !t.is_empty()).collect())
    }

    /// A filter for every `artifactType` of a query: containerd repeats the parameter and means "or".
    pub fn from_query(query: &Query) -> Self {
        Self::new(query.all("artifactType"))
    }

    /// Whether nothing is filtered out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The types, sorted.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether the filter lets `referrer` through.
    pub fn matches(&self, referrer: &Referrer) -> bool {
        self.is_empty()
            || referrer
                .descriptor
                .artifact_type
                .as_deref()
                .is_some_and(|t| self.0.contains(t))
    }

    /// The referrers that match, in their order.
    pub fn select<'a>(&'a self, referrers: &'a [Referrer]) -> impl Iterator<Item = &'a Referrer> {
        referrers.iter().filter(|r| self.matches(r))
    }
}
