//! What the findings on a registry come to.

use serde::Serialize;

use super::report::CheckReport;

/// Whether refshim is of use in front of a registry.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct CheckVerdict {
    /// `null` where that is not known.
    pub(super) helps: Option<bool>,
    /// A sentence that says so, and why.
    pub(super) because: String,
}

impl CheckVerdict {
    pub(super) fn of(report: &CheckReport) -> Self {
        let (helps, because) = match (&report.problem, report.native_referrers) {
            (Some(problem), _) => (None, format!("it is not known whether refshim helps here: {problem}")),
            (None, Some(false)) => (Some(true), no_api(report)),
            (None, Some(true)) => (
                Some(true),
                "refshim helps here only with links that were written down in other ways than the registry's own referrers API lists, such as \
                 cosign's tags; for all else clients can ask the registry itself"
                    .to_owned(),
            ),
            (None, None) if report.repository.is_none() => (
                None,
                "the registry answers; whether refshim helps here, --repository NAME tells".to_owned(),
            ),
            (None, None) => (
                None,
                "it is not known whether refshim helps here: the registry neither lists referrers nor says that it cannot; try a repository \
                 with a tag that you may read"
                    .to_owned(),
            ),
        };
        Self { helps, because }
    }
}

/// The registry has no referrers API: what clients get by way of refshim, and what that costs.
fn no_api(report: &CheckReport) -> String {
    let cost = match &report.tags {
        Some(tags) if tags.seeks == Some(true) => "a question costs a few requests, however many tags there are",
        Some(tags) if tags.pages == Some(false) => {
            "a question reads the whole listing of tags once per cache.fresh_for"
        }
        Some(_) => "a question reads the listing of tags, page by page, once per cache.fresh_for",
        None => "what a question costs is not known",
    };
    format!(
        "refshim helps here, because the registry has no referrers API: clients that ask for one get what is linked by tags and manifests; {cost}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(problem: Option<&str>, repository: Option<&str>, native: Option<bool>) -> CheckVerdict {
        CheckVerdict::of(&CheckReport {
            problem: problem.map(str::to_owned),
            repository: repository.map(str::to_owned),
            native_referrers: native,
            ..CheckReport::default()
        })
    }

    #[test]
    fn only_what_was_found_out_is_judged() {
        for (verdict, helps, says) in [
            (
                verdict(None, Some("app"), Some(false)),
                Some(true),
                "refshim helps here, because",
            ),
            (
                verdict(None, Some("app"), Some(true)),
                Some(true),
                "refshim helps here only",
            ),
            (verdict(None, None, None), None, "the registry answers"),
            (verdict(None, Some("app"), None), None, "it is not known"),
            (
                verdict(Some("it is gone"), Some("app"), Some(false)),
                None,
                "here: it is gone",
            ),
        ] {
            assert_eq!(verdict.helps, helps, "{verdict:?}");
            assert!(verdict.because.contains(says), "{verdict:?}");
        }
    }
}
