//! What there is to audit, and what that costs: repositories and their tags are listed before anything is read.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::error::CliError;
use crate::cli::gc::read::hides_tags;
use crate::cli::read_settings::ReadSettings;
use crate::cli::session::Session;
use crate::cli::target::TargetReference;
use crate::oci::{RepositoryName, tag_scheme};
use crate::referrers::Resolver;
use crate::registry::{Answer, Caller};

use super::repository::{AuditDepth, AuditScope, ListedRepository};
use super::target::{AuditTarget, NamePrefix};

/// A repository of which something is to be audited, or what went wrong before its tags were listed.
pub(super) struct SurveyedRepository {
    /// `host/name`
    pub(super) name: String,
    pub(super) scope: AuditScope,
    pub(super) listed: Result<ListedRepository, CliError>,
}

/// What auditing one repository costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuditCost {
    /// Tags of images.
    pub(super) tags: usize,
    pub(super) link_tags: usize,
    /// Requests, roughly: how many platforms and artifacts there are is not known before manifests are read.
    pub(super) requests: usize,
}

/// Requests to find out whether a registry has a referrers API, and whether its listing ends where it seems to.
const FIND_API: usize = 6;
/// Of a referrer: its manifest, the tag once more, and what it is made of.
const EACH_REFERRER: usize = 4;

pub(super) struct Survey {
    settings: ReadSettings,
    /// By registry and host.
    resolvers: BTreeMap<(String, String), Resolver>,
    /// Whether a registry is a refshim, by the same.
    refshims: BTreeMap<(String, String), bool>,
}

impl Survey {
    pub(super) fn new(settings: ReadSettings) -> Self {
        Self {
            settings,
            resolvers: BTreeMap::new(),
            refshims: BTreeMap::new(),
        }
    }

    /// Lists everything that `targets` name.
    ///
    /// # Errors
    /// If the repositories of a prefix cannot be listed.
    pub(super) async fn list(&mut self, targets: Vec<AuditTarget>) -> Result<Vec<SurveyedRepository>, CliError> {
        let mut wanted: BTreeMap<(String, RepositoryName), (TargetReference, AuditScope)> = BTreeMap::new();
        let mut add = |target: TargetReference, scope: AuditScope| {
            let key = (target.registry.to_string() + &target.host, target.repository.clone());
            match wanted.get_mut(&key) {
                Some((_, known)) => known.extend(scope),
                None => _ = wanted.insert(key, (target, scope)),
            }
        };
        let mut surveyed = Vec::new();
        for target in targets {
            match target {
                AuditTarget::Image(target) => {
                    let reference = target.reference.clone();
                    add(target, AuditScope::Images(vec![reference]));
                }
                AuditTarget::Repository(target) => add(target, AuditScope::Whole),
                AuditTarget::Prefix(prefix) => {
                    for name in self.repositories(&prefix).await? {
                        match RepositoryName::parse(&name) {
                            Ok(repository) => add(prefix.repository(&repository)?, AuditScope::Whole),
                            Err(error) => surveyed.push(SurveyedRepository {
                                listed: Err(CliError::failed(format!("{}: its catalog: {error}", prefix.host))),
                                name: format!("{}/{name}", prefix.host),
                                scope: AuditScope::Whole,
                            }),
                        }
                    }
                }
            }
        }
        for (target, scope) in wanted.into_values() {
            surveyed.push(SurveyedRepository {
                name: target.repository(),
                listed: self.list_tags(target, &scope).await,
                scope,
            });
        }
        Ok(surveyed)
    }

    async fn repositories(&mut self, prefix: &NamePrefix) -> Result<Vec<String>, CliError> {
        let resolver = self.resolver(&prefix.registry, &prefix.host)?;
        let host = &prefix.host;
        let listed = resolver.upstream().repositories(&Caller::anonymous()).await;
        match listed.map_err(|error| CliError::failed(format!("{host}: {error}")))? {
            Answer::Found(names) => Ok(names
                .into_iter()
                .filter(|name| name.starts_with(&prefix.prefix))
                .collect()),
            Answer::Absent => Ok(Vec::new()),
            Answer::Refused(refusal) => {
                let refused = CliError::refused(host, &refusal).message();
                let mend = "it does not list its repositories to you; name them, or give a list with --from-file";
                Err(CliError::failed(format!("{refused}: {mend}")))
            }
        }
    }

    fn resolver(&mut self, registry: &url::Url, host: &str) -> Result<Resolver, CliError> {
        let key = (registry.to_string(), host.to_owned());
        if let Some(known) = self.resolvers.get(&key) {
            return Ok(known.clone());
        }
        let resolver = self.settings.resolver(registry, host)?;
        self.resolvers.insert(key, resolver.clone());
        Ok(resolver)
    }

    async fn list_tags(&mut self, target: TargetReference, scope: &AuditScope) -> Result<ListedRepository, CliError> {
        let resolver = self.resolver(&target.registry, &target.host)?;
        let (key, name) = ((target.registry.to_string(), target.host.clone()), target.repository());
        let session = Session::log_in(resolver, target, name).await?;
        let listed = session
            .resolver()
            .tags(session.repository(), session.caller())
            .await
            .map_err(|error| session.failed(&error))?;
        let names = match (listed, scope) {
            (Answer::Found(names), _) => Some(names),
            // An image may be there all the same: what is asked about it says so.
            (Answer::Absent | Answer::Refused(_), AuditScope::Images(_)) => None,
            (Answer::Absent, AuditScope::Whole) => return Err(session.no_repository()),
            (Answer::Refused(refusal), AuditScope::Whole) => return Err(CliError::refused(session.name(), &refusal)),
        };
        let through_refshim = match self.refshims.get(&key) {
            Some(known) => *known,
            None => {
                let hides = hides_tags(&session).await?;
                self.refshims.insert(key, hides);
                hides
            }
        };
        Ok(ListedRepository {
            session,
            names,
            through_refshim,
        })
    }
}

impl AuditScope {
    fn extend(&mut self, other: Self) {
        match (self, other) {
            (Self::Whole, _) => {}
            (whole, Self::Whole) => *whole = Self::Whole,
            (Self::Images(known), Self::Images(more)) => {
                for reference in more {
                    if !known.contains(&reference) {
                        known.push(reference);
                    }
                }
            }
        }
    }
}

impl NamePrefix {
    fn repository(&self, name: &RepositoryName) -> Result<TargetReference, CliError> {
        let target = format!("{}://{}/{name}", self.registry.scheme(), self.host);
        target.parse().map_err(|problem: String| CliError::failed(problem))
    }
}

impl ListedRepository {
    pub(super) fn cost(&self, scope: &AuditScope, depth: AuditDepth) -> AuditCost {
        let names = self.names.as_deref();
        let (link_tags, tags): (Vec<&str>, Vec<&str>) = names
            .into_iter()
            .flat_map(|names| names.iter())
            .partition(|name| tag_scheme::parse(name).is_some());
        let (link_tags, tags) = (link_tags.len(), tags.len());
        let images = match scope {
            AuditScope::Whole => tags,
            AuditScope::Images(images) => images.len(),
        };
        let read = match depth.by_names {
            true => images,
            false => tags,
        };
        let links = match scope {
            AuditScope::Images(_) if depth.by_names => link_tags.min(images * EACH_REFERRER),
            AuditScope::Images(_) | AuditScope::Whole => link_tags,
        };
        AuditCost {
            tags,
            link_tags,
            // Each image is asked for in the registry's own API, or by a HEAD.
            requests: FIND_API + read + images + links * EACH_REFERRER,
        }
    }
}
