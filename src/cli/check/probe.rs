//! Finding out what a registry can do. Nothing is written to it.

use std::sync::Arc;

use http::header::LINK;

use crate::auth::{Challenge, challenges};
use crate::cli::login::{log_in, upstream_of_user};
use crate::cli::users::CredentialUsers;
use crate::config::{Config, CredentialsConfig, NamedProxy, UpstreamConfig};
use crate::oci::{Digest, Reference, RepositoryName, Tag};
use crate::registry::{
    Answer, Caller, CredentialCheck, Native, Refusal, RequestAllowance, SetupError, TagNames, Upstream, UpstreamError,
    no_registry,
};

use super::advice::advise;
use super::links_repository::LinksRepositoryReport;
use super::own_credentials::{CredentialCheckResult, OwnCredentials};
use super::referrers_tags;
use super::report::{Authentication, CheckReport, LinkForm, ProxyReport, TagListReport};
use super::verdict::CheckVerdict;

/// Of what `/v2/` says, in bytes.
const MAX_REPLY: usize = 1 << 20;

/// Why a probe ended early, as the report says it.
struct Problem(String);

impl From<UpstreamError> for Problem {
    fn from(error: UpstreamError) -> Self {
        Self(error.to_string())
    }
}

impl Problem {
    fn refused(refusal: &Refusal) -> Self {
        let status = refusal.status.as_u16();
        Self(format!(
            "the registry refuses to show the repository (HTTP {status}): log in with 'docker login' or check --repository"
        ))
    }
}

/// Asks one registry. What fails is said in the report; an error is one of the configuration.
pub(super) async fn probe(
    upstream_config: &UpstreamConfig,
    config: &Config,
    repository: Option<&RepositoryName>,
) -> Result<CheckReport, SetupError> {
    let upstream = match upstream_config.credentials.are_own() {
        true => Upstream::new(upstream_config, &config.limits)?,
        false => {
            let host = upstream_config.url.authority();
            upstream_of_user(upstream_config, &config.limits, host, RequestAllowance::default())?
        }
    };
    let links_upstream = config.links_upstream_of(upstream_config);
    let links_upstream = links_upstream.map(|other| Upstream::new(&config.upstreams[other], &config.limits));
    let links_upstream = links_upstream.transpose()?.map(Arc::new);
    let as_caller = UpstreamConfig {
        credentials: CredentialsConfig::default(),
        ..upstream_config.clone()
    };
    let mut report = CheckReport {
        name: upstream_config.name.clone(),
        url: upstream_config.url.to_string(),
        repository: repository.map(ToString::to_string),
        own_credentials: own_credentials(upstream_config, config),
        proxy: upstream.proxy().map(ProxyReport::from),
        exempt_from: configured_proxy(upstream_config).map(|proxy| proxy.set_by),
        ..CheckReport::default()
    };
    let probe = UpstreamProbe {
        bare: Upstream::new(&as_caller, &config.limits)?,
        upstream: Arc::new(upstream.with_links_in(links_upstream)),
        config,
        host: upstream_config.url.authority(),
    };
    if let Err(Problem(problem)) = probe.fill(&mut report, repository).await {
        report.problem = Some(problem);
    }
    advise(&mut report, config, upstream_config);
    report.verdict = CheckVerdict::of(&report);
    Ok(report)
}

struct UpstreamProbe<'a> {
    /// On the credentials that the configuration gives refshim, else on the user's.
    upstream: Arc<Upstream>,
    /// Without credentials.
    bare: Upstream,
    config: &'a Config,
    /// The key of the user's credentials: host and port.
    host: &'a str,
}

impl UpstreamProbe<'_> {
    async fn fill(&self, report: &mut CheckReport, repository: Option<&RepositoryName>) -> Result<(), Problem> {
        self.log_in(report, repository).await?;
        let nobody = &Caller::anonymous();
        let Some(repository) = repository else {
            return Ok(());
        };
        let all = match self.upstream.tags(repository, nobody).await? {
            Answer::Found(all) => all,
            Answer::Absent => {
                return Err(Problem(
                    "the registry does not know the repository: check --repository".to_owned(),
                ));
            }
            Answer::Refused(refusal) => return Err(Problem::refused(&refusal)),
        };
        let seeks = self.upstream.calibrate(repository, &all, nobody).await?;
        let (pages, link) = self.first_page(repository, all.len()).await?;
        report.tags = Some(TagListReport {
            count: all.len(),
            pages,
            link,
            seeks,
        });
        report.links_repository = LinksRepositoryReport::of(&self.upstream, repository).await?;
        if let Some(problem) = report
            .links_repository
            .as_ref()
            .and_then(LinksRepositoryReport::problem)
        {
            return Err(Problem(problem.to_owned()));
        }
        report.native_referrers = self.has_native_referrers(repository, &all, nobody).await?;
        let reader = nobody.reading_stored();
        report.referrers_tags = referrers_tags::incomplete(&self.upstream, repository, &all, &reader).await?;
        Ok(())
    }

    /// Whether the registry has the referrers API. Some registries without it answer as if they lacked the subject, so only the answer
    /// about a subject that the registry just gave is believed to say no.
    async fn has_native_referrers(
        &self,
        repository: &RepositoryName,
        all: &TagNames,
        caller: &Caller,
    ) -> Result<Option<bool>, Problem> {
        let tag = all.iter().next().and_then(|name| Tag::parse(name).ok());
        let given = match tag.map(Reference::Tag) {
            Some(tag) => self.upstream.head_manifest(repository, &tag, caller).await?,
            None => Answer::Absent,
        };
        let (subject, is_given) = match given {
            Answer::Found(head) => (head.digest, true),
            Answer::Absent | Answer::Refused(_) => (Digest::sha256(b"refshim check"), false),
        };
        Ok(
            match self.upstream.native_referrers(repository, &subject, caller).await? {
                Native::Entries(_) => Some(true),
                Native::Nothing | Native::Silence(_) if is_given => Some(false),
                Native::NoRoute(_) | Native::Barred(_) => Some(false),
                Native::Nothing | Native::Silence(_) | Native::Refused(_) => None,
            },
        )
    }

    /// Logs in on the credentials that the report then names. Fails where the registry cannot be asked or refuses them.
    async fn log_in(&self, report: &mut CheckReport, repository: Option<&RepositoryName>) -> Result<(), Problem> {
        let reply = self.bare.get("/v2/", &Caller::anonymous(), MAX_REPLY).await?;
        report.reachable = true;
        if let Some(seen) = no_registry(&reply) {
            return Err(Problem(format!(
                "what answers there is no registry ({seen}): check the URL"
            )));
        }
        report.authentication = Some(self.authentication(&challenges(&reply.headers)));
        if let Some(own) = &mut report.own_credentials {
            report.has_credentials = self.try_own(own, repository).await?;
            return Ok(());
        }
        report.has_credentials = self.upstream.has_credentials().await?;
        let login = log_in(&self.upstream, self.host, repository).await;
        login.map_err(|error| Problem(error.to_string()))?;
        if report.has_credentials {
            report.login_outcome = Some(self.try_login(repository).await?);
        }
        Ok(())
    }

    /// Tries the login that was found on this machine. Fails where the registry refuses it.
    async fn try_login(&self, repository: Option<&RepositoryName>) -> Result<CredentialCheckResult, Problem> {
        match self.upstream.try_own_credentials(repository).await? {
            Some(CredentialCheck::Accepted) => Ok(CredentialCheckResult::Accepted),
            None | Some(CredentialCheck::Unneeded | CredentialCheck::Missing) => Ok(CredentialCheckResult::Unneeded),
            Some(CredentialCheck::Refused) => {
                let at = repository.map_or_else(String::new, |repository| format!(" at {repository}"));
                Err(Problem(format!(
                    "the registry refuses the login found on this machine{at}: run 'docker login {}' again, or as another user",
                    self.host
                )))
            }
        }
    }

    fn authentication(&self, challenges: &[Challenge]) -> Authentication {
        match challenges.first() {
            None => Authentication::None,
            Some(Challenge::Basic) => Authentication::Basic,
            Some(Challenge::Bearer(bearer)) => Authentication::Bearer {
                realm: bearer.realm.clone(),
                proxy: self.upstream.proxy_to(&bearer.realm).map(ProxyReport::from),
            },
            Some(Challenge::Other(name)) => Authentication::Other { name: name.clone() },
        }
    }

    /// Tries the credentials that the configuration gives refshim, and says whether there are some. Fails where they are of no use.
    async fn try_own(&self, own: &mut OwnCredentials, repository: Option<&RepositoryName>) -> Result<bool, Problem> {
        let trial = self.upstream.try_own_credentials(repository).await?;
        let (outcome, problem) = match trial {
            None | Some(CredentialCheck::Unneeded) => (CredentialCheckResult::Unneeded, None),
            Some(CredentialCheck::Accepted) => (CredentialCheckResult::Accepted, None),
            Some(CredentialCheck::Missing) => (
                CredentialCheckResult::Missing,
                Some(
                    "upstream.credentials has none for this registry: log in with 'docker login' or name another file"
                        .to_owned(),
                ),
            ),
            Some(CredentialCheck::Refused) => {
                let at = repository.map_or_else(String::new, |repository| format!(" at {repository}"));
                let problem = format!("the registry refuses refshim's own credentials{at}: check upstream.credentials");
                (CredentialCheckResult::Refused, Some(problem))
            }
        };
        own.outcome = Some(outcome);
        match problem {
            Some(problem) => Err(Problem(problem)),
            None => Ok(outcome != CredentialCheckResult::Missing),
        }
    }

    /// Whether the registry gives one name when one is asked for, and how it links the next page.
    async fn first_page(
        &self,
        repository: &RepositoryName,
        count: usize,
    ) -> Result<(Option<bool>, Option<LinkForm>), Problem> {
        if count < 2 {
            return Ok((None, None));
        }
        let path = format!("/v2/{repository}/tags/list?n=1");
        let reply = self
            .upstream
            .get(&path, &Caller::anonymous(), self.config.limits.tag_list_bytes)
            .await?;
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let names = body["tags"].as_array().map_or(0, Vec::len);
        let link = reply.headers.get(LINK).and_then(|value| value.to_str().ok());
        let form = link.map(|link| match link.trim_start_matches('<').starts_with("http") {
            true => LinkForm::Absolute,
            false => LinkForm::Relative,
        });
        Ok((Some(names < count), form))
    }
}

fn own_credentials(upstream: &UpstreamConfig, config: &Config) -> Option<OwnCredentials> {
    upstream.credentials.are_own().then(|| OwnCredentials {
        kind: upstream.credentials.kind.as_str(),
        outcome: None,
        usable_by: CredentialUsers::of(&config.server),
        listen: config.server.listen,
    })
}

/// The proxy that is named for URLs like the registry's, whether or not it counts for its host.
fn configured_proxy(upstream: &UpstreamConfig) -> Option<&NamedProxy> {
    let egress = &upstream.egress;
    let named = if upstream.url.scheme() == "https" {
        &egress.https
    } else {
        &egress.http
    };
    named.as_ref()
}
