//! What follows from the findings on a registry for its operator.

use crate::config::{Config, UpstreamConfig};

use super::report::{Authentication, CheckReport};

/// From this many tags on, the report says what reading all of them costs.
const MANY_TAGS: usize = 1000;

/// Adds what the operator should know or change.
pub(super) fn advise(report: &mut CheckReport, config: &Config, upstream: &UpstreamConfig) {
    let mut advice = Vec::new();
    if report.reachable && report.repository.is_none() {
        advice.push("give --repository NAME to learn about referrers, tag pages and seeking".to_owned());
    }
    if upstream.url.scheme() == "http" && matches!(&report.authentication, Some(a) if *a != Authentication::None) {
        advice.push(
            "credentials are sent unencrypted to an http:// upstream: use https:// unless it is on this machine"
                .to_owned(),
        );
    }
    if upstream.insecure_skip_verify {
        advice.push(
            "insecure_skip_verify accepts every certificate for the registry's host, so that anybody on the way can read credentials and \
             answer in its place: use ca_file instead"
                .to_owned(),
        );
    }
    if let Some(Authentication::Bearer { realm, .. }) = &report.authentication
        && report.own_credentials.is_none()
        && !config.server.rewrite_realm
    {
        advice.push(format!(
            "clients fetch their tokens at {realm} themselves: it must be in their reach, or set server.rewrite_realm = true"
        ));
    }
    if config.upstreams.len() > 1 && matches!(report.authentication, Some(Authentication::Bearer { .. })) {
        advice.push(
            "give each upstream a host name of its own: several clients take the challenge from /v2/ alone".to_owned(),
        );
    }
    if let Some(tags) = &report.tags
        && tags.seeks == Some(false)
        && tags.count >= MANY_TAGS
    {
        advice.push(format!(
            "each refresh reads all {} tags, as this registry cannot seek: a longer cache.fresh_for makes that rarer",
            tags.count
        ));
    }
    advice.extend(report.referrers_tags.advice());
    if let Some(maintained) = config.writing.maintain_fallback_tag {
        advice.push(format!(
            "writing.maintain_fallback_tag = {maintained} is an older spelling: remove it, or write writing.links instead"
        ));
    }
    if report.native_referrers == Some(true) {
        advice.push(
            "the registry has a referrers API of its own: refshim adds the links that it does not list".to_owned(),
        );
    }
    report.advice = advice;
}
