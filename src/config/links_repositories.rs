//! Where the links of each upstream's repositories are kept: with the images, in a repository beside, or in one of another upstream.

use super::Config;
use super::error::ConfigError;
use super::upstream::{LinksRepository, UpstreamConfig};
use crate::oci::SiblingTemplate;

impl Config {
    /// Makes something of each upstream, in the configuration's order, given what was made of the upstream that keeps its links.
    pub fn link_upstreams<T: Clone, E>(
        &self,
        mut make: impl FnMut(usize, &UpstreamConfig, Option<T>) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        let mut made: Vec<Option<T>> = vec![None; self.upstreams.len()];
        // Who keeps links of others keeps its own itself.
        for elsewhere in [false, true] {
            for (index, upstream) in self.upstreams.iter().enumerate() {
                if upstream.siblings_upstream.is_some() == elsewhere {
                    let links_upstream = self.links_upstream_of(upstream).and_then(|other| made[other].clone());
                    made[index] = Some(make(index, upstream, links_upstream)?);
                }
            }
        }
        Ok(made.into_iter().flatten().collect())
    }

    /// The index of the other upstream that keeps the links of this one.
    pub fn links_upstream_of(&self, upstream: &UpstreamConfig) -> Option<usize> {
        let name = upstream.siblings_upstream.as_ref()?;
        self.upstreams.iter().position(|other| other.name == *name)
    }
}

/// Tells each upstream how its sibling repositories are named and where they are, and whose it keeps.
pub(super) fn check(config: &mut Config, problems: &mut Vec<ConfigError>) {
    check_names(config, problems);
    for index in 0..config.upstreams.len() {
        let upstream = &config.upstreams[index];
        let siblings = template_of(upstream, config);
        let elsewhere = siblings.as_ref().and_then(|_| other_upstream(upstream, config));
        if let (Some(template), None) = (&siblings, &elsewhere)
            && template.is_same_name()
        {
            let problem = "'{name}' is the repository itself: write a name beside it, such as {name}.refs, or name another upstream in links.upstream";
            problems.push(ConfigError::new(key_of_template(upstream, index), problem));
        }
        let name = upstream.name.clone();
        let mut others = config.upstreams.iter_mut();
        let other = others.find(|other| Some(&other.name) == elsewhere.as_ref());
        if let (Some(template), Some(other)) = (&siblings, other) {
            other.kept_for_others.push((name, template.clone()));
        }
        let upstream = &mut config.upstreams[index];
        (upstream.siblings, upstream.siblings_upstream) = (siblings, elsewhere);
    }
    for (index, upstream) in config.upstreams.iter().enumerate() {
        check_kept(index, upstream, problems);
    }
    let links = &config.writing.links;
    let writes_none = !links.proposal_d && !links.referrers_tag;
    if writes_none && config.upstreams.iter().any(|upstream| upstream.siblings.is_some()) {
        let problem = "cannot be [] where links are kept in another repository (links.repository): without a tag, nothing keeps them there";
        problems.push(ConfigError::new("writing.links", problem));
    }
}

/// Every key that names an upstream names one, and says what is kept there.
fn check_names(config: &Config, problems: &mut Vec<ConfigError>) {
    let own = config.upstreams.iter().enumerate();
    let own = own.map(|(index, upstream)| {
        let names_repositories = template_of(upstream, config).is_some();
        (
            of(index, "links_upstream"),
            &upstream.links_upstream,
            names_repositories,
        )
    });
    let any = config
        .upstreams
        .iter()
        .any(|upstream| template_of(upstream, config).is_some());
    let for_all = ("links.upstream".to_owned(), &config.links.upstream, any);
    for (key, name, names_repositories) in own.chain([for_all]) {
        let Some(name) = name else { continue };
        if !config.upstreams.iter().any(|upstream| upstream.name == *name) {
            let problem = format!(
                "'{name}' is not the name of an upstream (the first is called \"default\" unless it has a name)"
            );
            problems.push(ConfigError::new(key, problem));
        } else if !names_repositories {
            let problem = "has no effect without links.repository, which names the repositories there: write {name}.refs, or {name}";
            problems.push(ConfigError::new(key, problem));
        }
    }
}

/// How the repositories are named that keep the links of this upstream's.
fn template_of(upstream: &UpstreamConfig, config: &Config) -> Option<SiblingTemplate> {
    match &upstream.links_repository {
        // The registry that `links.upstream` names keeps its own links with its images.
        LinksRepository::AsLinks if config.links.upstream.as_ref() == Some(&upstream.name) => None,
        LinksRepository::AsLinks => config.links.repository.clone(),
        LinksRepository::WithImages => None,
        LinksRepository::Sibling(template) => Some(template.clone()),
    }
}

/// The name of the other upstream in which they are.
fn other_upstream(upstream: &UpstreamConfig, config: &Config) -> Option<String> {
    let name = upstream.links_upstream.as_ref().or(config.links.upstream.as_ref());
    name.filter(|name| **name != upstream.name).cloned()
}

/// What must hold of an upstream that keeps the links of others.
fn check_kept(index: usize, upstream: &UpstreamConfig, problems: &mut Vec<ConfigError>) {
    let kept = &upstream.kept_for_others;
    let Some((first, _)) = kept.first() else {
        return;
    };
    if !upstream.listing_credentials.are_own() {
        let problem = format!(
            "is missing: refshim keeps the links of upstream '{first}' there by an account of its own, because callers' credentials go \
             to the registry of their images alone"
        );
        problems.push(ConfigError::new(
            format!("links.credentials.{}", upstream.name),
            problem,
        ));
    }
    if let Some(further) = &upstream.siblings_upstream {
        let problem = format!("keeps its links in '{further}', so that it cannot keep those of upstream '{first}'");
        problems.push(ConfigError::new(of(index, "links_upstream"), problem));
    }
    let own = upstream.siblings.iter().map(|template| (&upstream.name, template));
    let all: Vec<_> = kept
        .iter()
        .map(|(name, template)| (name, template))
        .chain(own)
        .collect();
    for (at, (name, template)) in all.iter().enumerate() {
        if let Some((other, _)) = all[..at].iter().find(|(_, other)| other.overlaps(template)) {
            let problem = format!(
                "would keep links of the upstreams '{other}' and '{name}' in one repository: give each links_repository a part of its \
                 own, such as {name}/{{name}}"
            );
            problems.push(ConfigError::new(of(index, "links_repository"), problem));
        }
    }
}

fn key_of_template(upstream: &UpstreamConfig, index: usize) -> String {
    match upstream.links_repository {
        LinksRepository::Sibling(_) => of(index, "links_repository"),
        LinksRepository::AsLinks | LinksRepository::WithImages => "links.repository".to_owned(),
    }
}

fn of(index: usize, key: &str) -> String {
    format!("upstream[{index}].{key}")
}
