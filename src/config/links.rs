//! Where, and in which dialects, to look for links.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::credentials::CredentialsConfig;
use super::values;
use crate::oci::{LinkSource, SiblingTemplate};

/// Where to look for links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// As `Manifests` while a repository has at most `deep_limit` ordinary tags, and as `Names` beyond that or on registries that count pulls.
    Auto,
    /// Only behind tags whose name holds the subject's digest.
    Names,
    /// Also in the manifests behind all other tags ("ordinary tags").
    Manifests,
}

impl Depth {
    const NAMES: [(&'static str, Self); 3] = [
        ("auto", Self::Auto),
        ("names", Self::Names),
        ("manifests", Self::Manifests),
    ];
}

/// How artifacts are listed that are linked to a subject without naming it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutSubject {
    /// In a form that names it, which refshim makes of them.
    Adopt,
    /// As they are.
    List,
    /// Not at all.
    Omit,
}

impl WithoutSubject {
    const NAMES: [(&'static str, Self); 3] = [("adopt", Self::Adopt), ("list", Self::List), ("omit", Self::Omit)];
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinksConfig {
    #[serde(deserialize_with = "depth")]
    pub depth: Depth,
    /// The number of ordinary tags in a repository up to which `auto` reads their manifests.
    pub deep_limit: usize,
    /// How long what was read behind an ordinary tag is used before the registry is asked again where the tag points.
    #[serde(deserialize_with = "values::duration")]
    pub deep_refresh: Duration,
    /// How long a question waits for a tag listing; then it is answered 503 while the listing goes on.
    #[serde(deserialize_with = "values::duration")]
    pub patience: Duration,
    /// The dialects that are read.
    #[serde(deserialize_with = "sources")]
    pub sources: BTreeSet<LinkSource>,
    /// How artifacts without `subject` are listed: cosign's tags, BuildKit's attestations.
    #[serde(deserialize_with = "without_subject")]
    pub without_subject: WithoutSubject,
    /// How the repositories are named that keep the links of others; `None`: links are kept where the images are.
    #[serde(deserialize_with = "values::sibling_template")]
    pub repository: Option<SiblingTemplate>,
    /// The name of the upstream in which those repositories are, where that is another than the images'.
    #[serde(deserialize_with = "values::optional_text")]
    pub upstream: Option<String>,
    /// Accounts that list tags for callers who may not, and read and write sibling repositories for those who may, by the name of the upstream.
    pub credentials: BTreeMap<String, CredentialsConfig>,
}

impl Default for LinksConfig {
    fn default() -> Self {
        Self {
            depth: Depth::Auto,
            deep_limit: 200,
            deep_refresh: Duration::from_secs(600),
            patience: Duration::from_secs(8),
            sources: LinkSource::ALL.into(),
            without_subject: WithoutSubject::Adopt,
            repository: None,
            upstream: None,
            credentials: BTreeMap::new(),
        }
    }
}

fn depth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Depth, D::Error> {
    values::choice(deserializer, &Depth::NAMES)
}

fn without_subject<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WithoutSubject, D::Error> {
    values::choice(deserializer, &WithoutSubject::NAMES)
}

fn sources<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<LinkSource>, D::Error> {
    values::choices(
        deserializer,
        &LinkSource::ALL.map(|dialect| (dialect.as_str(), dialect)),
    )
}
