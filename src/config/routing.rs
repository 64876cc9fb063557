//! Checks that no request selects two upstreams: each `ns`, host name and prefix belongs to one only.

use std::collections::BTreeMap;

use super::UpstreamConfig;
use super::error::ConfigError;

/// Reports values that select more than one upstream. Upstreams without a name have their default one already.
pub(super) fn check(upstreams: &[UpstreamConfig], problems: &mut Vec<ConfigError>) {
    let mut taken = ClaimedNames::default();
    for (index, upstream) in upstreams.iter().enumerate().filter(|(_, upstream)| upstream.has_url()) {
        let key = |name: &str| format!("upstream[{index}].{name}");
        for namespace in upstream.namespaces() {
            let other = taken.take("ns", &namespace, upstream);
            // Two upstreams may have the same URL host, as long as the second can be selected in another way.
            let named = |upstream: &UpstreamConfig| !upstream.ns.is_empty();
            let elsewhere = !upstream.hosts.is_empty() || upstream.prefix.is_some();
            if let Some(other) = other.filter(|other| named(upstream) || named(other) || !elsewhere) {
                problems.push(clash(key("ns"), &namespace, other));
            }
        }
        for host in &upstream.hosts {
            if let Some(other) = taken.take("hosts", host, upstream) {
                problems.push(clash(key("hosts"), host, other));
            }
        }
        if let Some(prefix) = &upstream.prefix
            && let Some(other) = taken.take("prefix", prefix.as_str(), upstream)
        {
            problems.push(clash(key("prefix"), prefix.as_str(), other));
        }
    }
}

/// Which upstream each `ns`, host name and prefix selects.
#[derive(Default)]
struct ClaimedNames<'a>(BTreeMap<(&'static str, String), &'a UpstreamConfig>);

impl<'a> ClaimedNames<'a> {
    /// Returns the upstream that had `name` before.
    fn take(&mut self, kind: &'static str, name: &str, upstream: &'a UpstreamConfig) -> Option<&'a UpstreamConfig> {
        let key = (kind, name.to_owned());
        let before = self.0.get(&key).copied();
        if before.is_none() {
            self.0.insert(key, upstream);
        }
        before
    }
}

fn clash(key: String, name: &str, other: &UpstreamConfig) -> ConfigError {
    let other = &other.name;
    ConfigError::new(
        key,
        format!("'{name}' already selects upstream '{other}': give each upstream a different one"),
    )
}
