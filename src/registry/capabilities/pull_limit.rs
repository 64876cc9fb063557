//! Registries that count pulls: a GET of a manifest counts against its caller, a HEAD or a tag listing does not (Docker Hub).

use std::time::Duration;

use http::HeaderMap;

use super::capability::Capability;

/// The pulls within a window of seconds: `100;w=21600` (draft-polli-ratelimit-headers).
const LIMIT_HEADER: &str = "ratelimit-limit";
/// Docker Hub's host names.
const DOCKER_HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
/// Some callers are limited and others are not: what was seen once is believed for long.
const COUNTS_FOR: Duration = Duration::from_secs(24 * 60 * 60);
const DOES_NOT_FOR: Duration = Duration::from_secs(10 * 60);

/// Whether an upstream counts pulls.
#[derive(Debug)]
pub(in crate::registry) struct PullLimit {
    is_docker_hub: bool,
    seen: Capability,
}

impl PullLimit {
    pub(in crate::registry) fn of(host: Option<&str>) -> Self {
        let is_hub = |host: &str| DOCKER_HUB.iter().any(|hub| host.eq_ignore_ascii_case(hub));
        Self {
            is_docker_hub: host.is_some_and(is_hub),
            seen: Capability::new(COUNTS_FOR, DOES_NOT_FOR),
        }
    }

    /// `None` where no manifest was read lately that would tell.
    pub(in crate::registry) fn counts_pulls(&self) -> Option<bool> {
        match self.is_docker_hub {
            true => Some(true),
            false => self.seen.get(),
        }
    }

    /// Learns from the head of an answer about a manifest. `is_pull`: a GET that was answered with the manifest; only such a
    /// one without the header tells that pulls are not counted.
    pub(in crate::registry) fn saw(&self, headers: &HeaderMap, is_pull: bool) {
        if headers
            .get_all(LIMIT_HEADER)
            .iter()
            .any(|value| has_window(value.as_bytes()))
        {
            self.seen.learn(true);
        } else if is_pull && self.counts_pulls() != Some(true) {
            self.seen.learn(false);
        }
    }
}

/// Whether a limit names the window that it is for, as limits of pulls do.
fn has_window(value: &[u8]) -> bool {
    let parameters = value.split(|byte| matches!(byte, b';' | b',')).skip(1);
    parameters.map(<[u8]>::trim_ascii).any(|parameter| {
        let seconds = parameter.strip_prefix(b"w=").unwrap_or_default();
        !seconds.is_empty() && seconds.iter().all(u8::is_ascii_digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(limit: Option<&'static str>) -> HeaderMap {
        let value = limit.map(http::HeaderValue::from_static);
        value
            .map(|value| (http::HeaderName::from_static(LIMIT_HEADER), value))
            .into_iter()
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_limited_answer_outweighs_many_others() {
        let limit = PullLimit::of(Some("registry.example"));
        assert_eq!(limit.counts_pulls(), None);
        limit.saw(&headers(None), false);
        assert_eq!(limit.counts_pulls(), None, "a HEAD without the header tells nothing");
        limit.saw(&headers(Some("100")), true);
        assert_eq!(
            limit.counts_pulls(),
            Some(false),
            "a limit of requests is none of pulls"
        );
        limit.saw(&headers(Some("100;w=21600")), false);
        limit.saw(&headers(None), true);
        assert_eq!(limit.counts_pulls(), Some(true));
        tokio::time::advance(COUNTS_FOR).await;
        assert_eq!(limit.counts_pulls(), None);
    }

    #[test]
    fn docker_hub_is_known_by_its_names() {
        for host in ["docker.io", "Registry-1.docker.io", "index.docker.io"] {
            assert_eq!(PullLimit::of(Some(host)).counts_pulls(), Some(true), "{host}");
        }
        for host in [Some("docker.io.example"), Some("mirror.docker.io"), None] {
            assert_eq!(PullLimit::of(host).counts_pulls(), None, "{host:?}");
        }
    }
}
