//! Sibling repositories: where the links of a repository are kept apart from its images, named after it.

use std::fmt;
use std::sync::Arc;

use super::name::{InvalidName, RepositoryName};

/// What stands for the repository's own name.
const NAME: &str = "{name}";

/// How sibling repositories are named after the repositories whose links they keep: `{name}.refs`.
#[derive(Clone, PartialEq, Eq)]
pub struct SiblingTemplate {
    before: Arc<str>,
    after: Arc<str>,
}

/// Why a text names no sibling repositories.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    #[error("'{}' names another registry: name the upstream in links.upstream, and here its repositories, such as {{name}}.refs", .0.escape_debug())]
    AnotherRegistry(String),
    #[error("'{}' must hold {{name}} once, which stands for the name of the repository, such as {{name}}.refs", .0.escape_debug())]
    WithoutName(String),
    #[error("'{}' makes no repository names of repository names, such as '{example}' of 'app'", .template.escape_debug())]
    NoName { template: String, example: String },
}

impl SiblingTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// If it does not make one repository name of each.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        if text.contains(':') {
            return Err(InvalidTemplate::AnotherRegistry(text.to_owned()));
        }
        let (before, after) = match text.split_once(NAME) {
            Some((before, after)) if !after.contains(NAME) => (before, after),
            _ => return Err(InvalidTemplate::WithoutName(text.to_owned())),
        };
        let example = format!("{before}app{after}");
        if RepositoryName::parse(&example).is_err() {
            let template = text.to_owned();
            return Err(InvalidTemplate::NoName { template, example });
        }
        Ok(Self {
            before: before.into(),
            after: after.into(),
        })
    }

    /// Whether the sibling of each repository has its very name, so that only another registry can hold it.
    pub fn is_same_name(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    /// Whether a repository may be named by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let begins = |one: &Self, two: &Self| one.before.starts_with(&*two.before);
        let ends = |one: &Self, two: &Self| one.after.ends_with(&*two.after);
        (begins(self, other) || begins(other, self)) && (ends(self, other) || ends(other, self))
    }

    /// The sibling of `repository`.
    ///
    /// # Errors
    /// If its name would be too long.
    pub fn sibling_of(&self, repository: &RepositoryName) -> Result<RepositoryName, InvalidName> {
        RepositoryName::parse(&format!("{}{repository}{}", self.before, self.after))
    }

    /// The repository whose sibling `sibling` is.
    pub fn base_of(&self, sibling: &RepositoryName) -> Option<RepositoryName> {
        let name = sibling.as_str().strip_prefix(&*self.before)?;
        RepositoryName::parse(name.strip_suffix(&*self.after)?).ok()
    }
}

impl fmt::Display for SiblingTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{NAME}{}", self.before, self.after)
    }
}

impl fmt::Debug for SiblingTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SiblingTemplate({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).unwrap()
    }

    #[test]
    fn a_sibling_leads_back_to_its_repository() {
        for (template, base, sibling) in [
            ("{name}.refs", "o/app", "o/app.refs"),
            ("refs/{name}", "o/app", "refs/o/app"),
            ("links/{name}/refs", "app", "links/app/refs"),
            ("{name}/refs", "o/app", "o/app/refs"),
            ("{name}", "o/app", "o/app"),
        ] {
            let template = SiblingTemplate::parse(template).unwrap();
            assert_eq!(template.sibling_of(&name(base)), Ok(name(sibling)));
            assert_eq!(template.base_of(&name(sibling)), Some(name(base)));
            assert_eq!(template.base_of(&name(base)).is_some(), template.is_same_name());
        }
    }

    #[test]
    fn templates_overlap_where_one_name_may_be_of_both() {
        for (one, two, overlap) in [
            ("{name}.refs", "{name}.refs", true),
            ("{name}", "{name}.refs", true),
            ("{name}.refs", "ghcr/{name}", true),
            ("a/{name}", "a/b/{name}", true),
            ("a/{name}", "b/{name}", false),
            ("{name}.refs", "{name}.sigs", false),
            ("a/{name}.refs", "b/{name}.refs", false),
        ] {
            let parse = |text| SiblingTemplate::parse(text).unwrap();
            assert_eq!(parse(one).overlaps(&parse(two)), overlap, "{one} {two}");
            assert_eq!(parse(two).overlaps(&parse(one)), overlap, "{one} {two}");
        }
    }

    #[test]
    fn a_name_that_would_be_too_long_is_an_error_and_not_none() {
        let template = SiblingTemplate::parse("{name}.refs").unwrap();
        assert!(template.sibling_of(&name(&"a".repeat(252))).is_err());
    }

    #[test]
    fn what_names_no_sibling_is_refused_with_its_reason() {
        for (template, reason) in [
            ("https://ghcr.io/{name}", "another registry"),
            ("ghcr:{name}", "another registry"),
            ("refs", "must hold {name} once"),
            ("", "must hold {name} once"),
            ("{name}/{name}", "must hold {name} once"),
            ("{name}.Refs", "'app.Refs' of 'app'"),
            ("/{name}", "no repository names"),
        ] {
            let refused = SiblingTemplate::parse(template).unwrap_err().to_string();
            assert!(refused.contains(reason), "{template}: {refused}");
        }
    }
}
