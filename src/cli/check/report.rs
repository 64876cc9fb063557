//! The report on one registry.

use serde::Serialize;

use super::links_repository::LinksRepositoryReport;
use super::own_credentials::{CredentialCheckResult, OwnCredentials};
use super::referrers_tags::IncompleteTags;
use crate::cli::output::printable;
use crate::config::NamedProxy;

use super::verdict::CheckVerdict;

/// Also what `--output json` prints for each upstream. What was not found out is `null`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckReport {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) reachable: bool,
    /// What kept the rest from being found out.
    pub(super) problem: Option<String>,
    /// The HTTP proxy on the way to the registry. `null`: there is none.
    pub(super) proxy: Option<ProxyReport>,
    /// What names a proxy that does not count for the registry's host.
    #[serde(skip)]
    pub(super) exempt_from: Option<&'static str>,
    pub(super) authentication: Option<Authentication>,
    /// Whether there are credentials for the registry: in `ownCredentials`, else of the user's login on this machine.
    pub(super) has_credentials: bool,
    /// What became of that login when it was tried. `null`: there is none, or it was not tried.
    pub(super) login_outcome: Option<CredentialCheckResult>,
    /// Those that `serve` would use instead of its callers'. `null` where it uses callers'.
    pub(super) own_credentials: Option<OwnCredentials>,
    pub(super) repository: Option<String>,
    pub(super) native_referrers: Option<bool>,
    pub(super) tags: Option<TagListReport>,
    /// `null`: links are kept in the repository itself.
    pub(super) links_repository: Option<LinksRepositoryReport>,
    #[serde(skip)]
    pub(super) referrers_tags: IncompleteTags,
    pub(super) advice: Vec<String>,
    pub(super) verdict: CheckVerdict,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "scheme")]
pub(super) enum Authentication {
    None,
    Basic,
    Bearer {
        realm: String,
        /// The HTTP proxy on the way to the realm.
        proxy: Option<ProxyReport>,
    },
    Other {
        name: String,
    },
}

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProxyReport {
    /// Without user and password.
    url: String,
    /// The variable or key that names it.
    set_by: &'static str,
}

impl From<&NamedProxy> for ProxyReport {
    fn from(proxy: &NamedProxy) -> Self {
        Self {
            url: proxy.url.to_string(),
            set_by: proxy.set_by,
        }
    }
}

impl ProxyReport {
    fn text(&self) -> String {
        format!("through the proxy {} ({})", self.url, self.set_by)
    }
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TagListReport {
    pub(super) count: usize,
    /// Whether `n` limits a page. `null` with fewer than two tags.
    pub(super) pages: Option<bool>,
    /// How the next page is linked.
    pub(super) link: Option<LinkForm>,
    /// Whether `last` leads to exactly the names past it. `null` where there are too few tags to tell.
    pub(super) seeks: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LinkForm {
    Relative,
    Absolute,
}

impl CheckReport {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = format!("upstream {}: {}\n", self.name, self.url);
        for (title, value) in self.lines() {
            text.push_str(&format!("  {title:<18} {}\n", printable(&value)));
        }
        for advice in &self.advice {
            text.push_str(&format!("  advice: {}\n", printable(advice)));
        }
        text.push_str(&format!("  verdict: {}\n", printable(&self.verdict.because)));
        text
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![("reachable", yes(self.reachable)), ("connection", self.connection())];
        if let Some(authentication) = &self.authentication {
            lines.push(("authentication", authentication.text()));
        }
        if let Some(Authentication::Bearer { proxy, .. }) = &self.authentication
            && *proxy != self.proxy
        {
            let to_realm = proxy.as_ref().map_or_else(|| "direct".to_owned(), ProxyReport::text);
            lines.push(("to the realm", to_realm));
        }
        if let Some(own) = &self.own_credentials {
            lines.push(("own credentials", own.text()));
            lines.push(("usable by", own.usable_by.at(own.listen)));
        } else if self.reachable {
            let held = match (self.has_credentials, self.login_outcome) {
                (false, _) => "none on this machine",
                (true, None | Some(CredentialCheckResult::Missing)) => "found on this machine",
                (true, Some(CredentialCheckResult::Accepted)) => "found on this machine: the registry accepts them",
                (true, Some(CredentialCheckResult::Unneeded)) => {
                    "found on this machine: the registry asks for none, so they were not tried"
                }
                (true, Some(CredentialCheckResult::Refused)) => "found on this machine: the registry refuses them",
            };
            lines.push(("credentials", held.to_owned()));
        }
        if let Some(repository) = &self.repository {
            lines.push(("repository", repository.clone()));
        }
        if let Some(native) = self.native_referrers {
            lines.push(("native referrers", yes(native)));
        }
        if let Some(tags) = &self.tags {
            lines.push(("tags", tags.count.to_string()));
            lines.push(("tag pages", tags.paging()));
            lines.push(("seeking", tags.seeking()));
        }
        if let Some(kept) = &self.links_repository {
            lines.push(("links are kept in", kept.text()));
        }
        lines
    }
}

impl CheckReport {
    fn connection(&self) -> String {
        match (&self.proxy, self.exempt_from) {
            (Some(proxy), _) => proxy.text(),
            (None, Some(set_by)) => {
                format!("direct: NO_PROXY, or being on this machine, exempts it from the proxy that {set_by} names")
            }
            (None, None) => "direct".to_owned(),
        }
    }
}

impl Authentication {
    fn text(&self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Basic => "Basic".to_owned(),
            Self::Bearer { realm, .. } => format!("Bearer, realm {realm}"),
            Self::Other { name } => format!("{name} (not known to refshim; passed through)"),
        }
    }
}

impl TagListReport {
    fn paging(&self) -> String {
        let pages = match self.pages {
            None => return "unknown: too few tags".to_owned(),
            Some(false) => return "no: the whole listing at once".to_owned(),
            Some(true) => "yes",
        };
        match self.link {
            Some(LinkForm::Relative) => format!("{pages}, next page linked by path"),
            Some(LinkForm::Absolute) => format!("{pages}, next page linked by absolute URL"),
            None => format!("{pages}, but without a link to the next page"),
        }
    }

    fn seeking(&self) -> String {
        match self.seeks {
            Some(true) => "yes: one request finds the tags of a subject".to_owned(),
            Some(false) => "no: 'last' does not lead to exactly the names past it".to_owned(),
            None => "unknown: too few tags".to_owned(),
        }
    }
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_say_the_same() {
        let report = CheckReport {
            name: "default".into(),
            url: "https://ghcr.io/".into(),
            reachable: true,
            authentication: Some(Authentication::Bearer {
                realm: "https://ghcr.io/token".into(),
                proxy: None,
            }),
            proxy: Some(ProxyReport {
                url: "http://proxy.example:3128".into(),
                set_by: "HTTPS_PROXY",
            }),
            repository: Some("o/app".into()),
            native_referrers: Some(false),
            tags: Some(TagListReport {
                count: 169,
                pages: Some(true),
                link: Some(LinkForm::Relative),
                seeks: Some(false),
            }),
            advice: vec!["raise cache.fresh_for".into()],
            verdict: CheckVerdict {
                helps: Some(true),
                because: "refshim helps here".into(),
            },
            ..CheckReport::default()
        };
        assert_eq!(
            report.text(),
            "upstream default: https://ghcr.io/\n\
             \x20 reachable          yes\n\
             \x20 connection         through the proxy http://proxy.example:3128 (HTTPS_PROXY)\n\
             \x20 authentication     Bearer, realm https://ghcr.io/token\n\
             \x20 to the realm       direct\n\
             \x20 credentials        none on this machine\n\
             \x20 repository         o/app\n\
             \x20 native referrers   no\n\
             \x20 tags               169\n\
             \x20 tag pages          yes, next page linked by path\n\
             \x20 seeking            no: 'last' does not lead to exactly the names past it\n\
             \x20 advice: raise cache.fresh_for\n\
             \x20 verdict: refshim helps here\n"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["authentication"]["scheme"], "bearer");
        assert_eq!(json["proxy"]["setBy"], "HTTPS_PROXY");
        assert_eq!(json["tags"]["link"], "relative");
        assert_eq!(json["nativeReferrers"], false);
        assert!(json["problem"].is_null());
    }
}
