//! What people type or paste to find an image: a whole reference, a line of a shell with one, an address of these pages, or part of a
//! repository's name.

use crate::oci::{Digest, Reference, RepositoryName, Tag};
use crate::proxy::context::RequestContext;
use crate::ui::Address;

/// What in front of a reference only says how it is to be fetched.
const SCHEMES: [&str; 4] = ["https://", "http://", "oci://", "docker://"];

/// What was typed, as far as it can be told without asking.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TypedReference {
    /// The namespace of another upstream, which the host in the reference means.
    pub elsewhere: Option<String>,
    /// A repository's name, or a part of one.
    pub name: String,
    pub reference: Option<Reference>,
}

impl TypedReference {
    /// `None` if it names no repository.
    pub fn parse(context: &RequestContext<'_>, typed: &str) -> Option<Self> {
        let (host, path) = split_host(typed);
        let registries = &context.backend.shared.registries;
        let own = context.origin();
        let own = own
            .as_deref()
            .and_then(|origin| origin.split_once("://"))
            .map(|(_, host)| host.to_owned());
        let mut elsewhere = None;
        let mut path = path.to_owned();
        match host {
            Some(host) if own.is_some_and(|own| own.eq_ignore_ascii_case(&host)) => {
                let by_prefix = registries.iter().filter_map(|registry| {
                    let prefix = registry.link.prefix.as_deref()?;
                    let rest = path.strip_prefix(prefix)?.strip_prefix('/')?;
                    Some((registry.link.namespace.clone(), rest.to_owned()))
                });
                let longest = by_prefix.min_by_key(|(_, rest)| rest.len());
                if let Some((namespace, rest)) = longest {
                    (elsewhere, path) = (Some(namespace), rest);
                }
            }
            Some(host) => match registries.iter().find(|registry| registry.names.contains(&host)) {
                Some(known) if registries.len() > 1 => elsewhere = Some(known.link.namespace.clone()),
                Some(_) => {}
                // A repository's name may look like a host with something behind it.
                None => path = format!("{host}/{path}"),
            },
            None => {}
        }
        let (name, reference) = split_reference(&path)?;
        Some(Self {
            elsewhere,
            name: name.to_ascii_lowercase(),
            reference,
        })
    }

    /// The whole name of a repository, as far as its form tells: with a tag or a digest, nobody means a part of it.
    pub fn whole_name(&self) -> Option<RepositoryName> {
        let is_whole = self.reference.is_some() && self.name.contains('/');
        self.valid_name().filter(|_| is_whole || self.elsewhere.is_some())
    }

    /// The name, if a repository can be called so.
    pub fn valid_name(&self) -> Option<RepositoryName> {
        RepositoryName::parse(&self.name).ok()
    }
}

/// The host in front of a reference, in lower case, if there is one, and the rest.
fn split_host(typed: &str) -> (Option<String>, &str) {
    // The last word of a line such as `docker pull …`.
    let word = typed.split_whitespace().next_back().unwrap_or_default();
    let scheme = SCHEMES.iter().find_map(|scheme| word.strip_prefix(scheme));
    let rest = scheme.unwrap_or(word).trim_matches('/');
    let split = rest
        .split_once('/')
        .filter(|(first, _)| scheme.is_some() || first.contains(['.', ':']) || first.eq_ignore_ascii_case("localhost"));
    match split {
        None => (None, rest),
        Some((host, path)) => {
            // An address of these pages.
            let page = path.strip_prefix(Address::REPOSITORY.trim_start_matches('/'));
            let path = page.map_or(path, |page| page.split('?').next().unwrap_or(page));
            (Some(host.to_ascii_lowercase()), path)
        }
    }
}

/// The name, and the tag or the digest behind it. `None` for what is neither.
fn split_reference(path: &str) -> Option<(&str, Option<Reference>)> {
    let (before, digest) = match path.split_once('@') {
        Some((before, digest)) => (before, Some(Digest::parse(digest).ok()?)),
        None => (path, None),
    };
    let (name, tag) = match before.split_once(':') {
        Some((name, tag)) => (name, Some(Tag::parse(tag).ok()?)),
        None => (before, None),
    };
    let is_text = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    let is_name = !name.is_empty() && name.chars().all(is_text);
    // A digest alone looks like a name with a tag.
    let is_digest = matches!(name, "sha256" | "sha512");
    (is_name && !is_digest).then(|| (name, digest.map(Reference::Digest).or(tag.map(Reference::Tag))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_names() {
        for (typed, host, path) in [
            ("o/app:v1", None, "o/app:v1"),
            ("App", None, "App"),
            ("app:v1", None, "app:v1"),
            ("ghcr.io/o/app:v1", Some("ghcr.io"), "o/app:v1"),
            ("docker pull localhost:5000/a/b@x", Some("localhost:5000"), "a/b@x"),
            ("https://GHCR.io/o/app/", Some("ghcr.io"), "o/app"),
            ("oci://h/o/app", Some("h"), "o/app"),
            (
                "http://127.0.0.1:5100/ui/r/o/app:v1?kind=SBOM",
                Some("127.0.0.1:5100"),
                "o/app:v1",
            ),
        ] {
            assert_eq!(split_host(typed), (host.map(str::to_owned), path), "{typed}");
        }
    }

    #[test]
    fn references_are_told_from_other_text() {
        let digest = Digest::sha256(b"x");
        let by_digest = format!("o/app:v1@{digest}");
        for (path, expected) in [
            ("o/app", Some(("o/app", None))),
            ("App", Some(("App", None))),
            ("app:v1", Some(("app", Reference::parse("v1")))),
            (&by_digest, Some(("o/app", Some(Reference::Digest(digest.clone()))))),
            (digest.as_str(), None),
            ("o/app:", None),
            ("a b", None),
            ("<script>", None),
            ("", None),
        ] {
            assert_eq!(split_reference(path), expected, "{path}");
        }
    }
}
