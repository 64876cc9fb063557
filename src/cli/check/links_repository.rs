//! Whether the repository beside the examined one that is to keep its links (`links.repository`) can be read and written.

use std::sync::Arc;

use serde::Serialize;

use crate::oci::RepositoryName;
use crate::registry::{Answer, Caller, Refusal, Upstream, UpstreamError};

/// The repository that keeps the links of the examined one.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LinksRepositoryReport {
    name: String,
    /// The name of the other upstream in which it is.
    upstream: Option<String>,
    /// Whether it is asked by the account of `links.credentials`, or by each caller's own right.
    has_account: bool,
    /// `false`: the registry states that it is not there.
    exists: bool,
    /// Whether the registry opens an upload there.
    writable: bool,
    /// What is to be mended.
    #[serde(skip)]
    problem: Option<String>,
}

impl LinksRepositoryReport {
    /// Asks the registry. An upload is opened there, and cancelled.
    pub(super) async fn of(
        upstream: &Arc<Upstream>,
        repository: &RepositoryName,
    ) -> Result<Option<Self>, UpstreamError> {
        let Some(sibling) = upstream.sibling(repository, &Caller::anonymous().about_to_write())? else {
            return Ok(None);
        };
        let (name, caller) = (&sibling.repository, &sibling.caller);
        let upstream = upstream.links_upstream();
        let mut report = Self {
            name: name.to_string(),
            upstream: sibling.elsewhere.clone(),
            has_account: sibling.is_of_account(),
            exists: true,
            writable: false,
            problem: None,
        };
        match upstream.some_tags(name, caller).await? {
            Answer::Found(_) => {}
            Answer::Absent => report.exists = false,
            Answer::Refused(refusal) => {
                report.problem = Some(report.refused("to read", &refusal));
                return Ok(Some(report));
            }
        }
        match upstream.opens_upload(name, caller).await? {
            Ok(()) => report.writable = true,
            Err(refused) => report.problem = Some(report.refused("to push to", &Refusal::from(refused))),
        }
        Ok(Some(report))
    }

    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    pub(super) fn text(&self) -> String {
        let exists = match self.exists {
            true => "there",
            false => "not there yet, the first push makes it",
        };
        let writable = match self.writable {
            true => "writable",
            false => "not writable",
        };
        format!("{}: {exists}, {writable} {}", self.full_name(), self.by())
    }

    fn full_name(&self) -> String {
        match &self.upstream {
            Some(upstream) => format!("{} of upstream '{upstream}'", self.name),
            None => self.name.clone(),
        }
    }

    fn by(&self) -> &'static str {
        match self.has_account {
            true => "by the account of links.credentials",
            false => "by these credentials, as callers are asked for their own",
        }
    }

    fn refused(&self, what: &str, refusal: &Refusal) -> String {
        let (name, status) = (self.full_name(), refusal.status.as_u16());
        let mend = match (self.has_account, self.exists) {
            (_, false) => "create it, or let the account create it",
            (true, true) => "give the account of links.credentials that right",
            (false, true) => "name an account that may, in links.credentials",
        };
        format!("the registry refuses {what} {name}, which is to keep the links (HTTP {status}): {mend}")
    }
}
