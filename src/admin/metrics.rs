//! What `/metrics` prints: every metric's name and help text. The layers below count, and know the labels.

mod certificates;
mod disk;
mod labelled;
mod process;
mod redis;
mod webhooks;

use std::fmt;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::AdminSources;
use crate::build_info;
use crate::metrics::Metrics;
use crate::referrers::Resolver;
use certificates::Certificates;
use disk::Disk;
use labelled::Labelled;
use process::Process;
use redis::Redis;

/// Everything that `/metrics` shows.
pub(super) struct Registries {
    refshim: Registry,
    /// Whose names have no prefix.
    process: Registry,
}

impl Registries {
    pub(super) fn new(watched: AdminSources) -> Self {
        let mut process = Registry::with_prefix("process");
        process.register_collector(Box::new(Process::starts()));
        Self {
            refshim: registry(watched),
            process,
        }
    }

    /// As OpenMetrics.
    pub(super) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.refshim)?;
        encode_registry(&mut text, &self.process)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

fn registry(watched: AdminSources) -> Registry {
    let mut registry = Registry::with_prefix("refshim");
    let build = Info::new([
        ("version", build_info::VERSION.to_owned()),
        ("commit", build_info::COMMIT.to_owned()),
        ("features", build_info::FEATURES.join(",")),
    ]);
    registry.register("build", "What is running", build);
    register_requests(&mut registry, &watched.metrics);
    let help = "Connections of callers that may be open: limits.connections";
    registry.register(
        "connections_limit",
        help,
        ConstGauge::new(watched.connections_limit as u64),
    );
    register_upstreams(&mut registry, &watched.resolvers);
    let help = "Lookups in the cache, by what was looked up and which tier held it";
    registry.register("cache_lookups", help, watched.cache.lookups().clone());
    registry.register_collector(Box::new(Certificates {
        upstreams: watched.upstreams(),
        listeners: watched.listeners,
    }));
    webhooks::register(&mut registry, &watched.publisher);
    registry.register_collector(Box::new(Disk(watched.cache.clone())));
    registry.register_collector(Box::new(Redis(watched.cache)));
    registry
}

/// What callers asked for.
fn register_requests(registry: &mut Registry, metrics: &Metrics) {
    let help = "Requests answered, by endpoint and class of status";
    registry.register("requests", help, metrics.requests.clone());
    let help = "Requests whose caller was gone before there was an answer";
    registry.register("requests_abandoned", help, metrics.abandoned.clone());
    let help = "From a request to the head of its answer";
    registry.register_with_unit("request_duration", help, Unit::Seconds, metrics.latency.clone());
    let help = "Bytes of response bodies sent to callers";
    registry.register_with_unit("response", help, Unit::Bytes, metrics.bytes_sent.clone());
    let help = "Requests being answered, bodies included";
    registry.register("requests_in_flight", help, metrics.in_flight.clone());
    registry.register(
        "connections",
        "Open connections of callers",
        metrics.connections.clone(),
    );
    let help = "Images pulled, by whether they had a signature known to refshim: metrics.signed_pulls";
    registry.register("pulls", help, metrics.pulls.clone());
    let help = "Requests that met a defect of refshim";
    registry.register("panics", help, metrics.panics.clone());
    let help = "Lines of the log that were lost because standard error was not read fast enough";
    registry.register("log_lines_lost", help, metrics.lost_log_lines.clone());
}

/// What the upstreams were asked, and what that told.
fn register_upstreams(registry: &mut Registry, resolvers: &[Resolver]) {
    let requests = per_upstream(resolvers, |resolver| resolver.upstream().requests());
    let help = "Requests to upstreams, by what they were for and how they ended";
    registry.register("upstream_requests", help, requests);
    let durations = per_upstream(resolvers, |resolver| resolver.upstream().request_durations());
    let help = "From a request to an upstream to the head of its response";
    registry.register_with_unit("upstream_request_duration", help, Unit::Seconds, durations);
    let held_back = per_upstream(resolvers, |resolver| resolver.upstream().reads().held_back());
    let help = "Reads of scans held back from an upstream that limits requests or fails";
    registry.register("scan_reads_held_back", help, held_back);
    let answers = per_upstream(resolvers, |resolver| &resolver.counts().answers);
    let help = "Questions for referrers, by where the answer came from";
    registry.register("answers", help, answers);
    let links = per_upstream(resolvers, |resolver| &resolver.counts().links);
    registry.register("links", "Links that scans found, once for each dialect", links);
    let scans = per_upstream(resolvers, |resolver| &resolver.counts().scans);
    registry.register("scans", "Scans for referrers, failed ones included", scans);
    let failed = per_upstream(resolvers, |resolver| &resolver.counts().failed_scans);
    registry.register("scans_failed", "Scans that could not be finished", failed);
    let by_names = per_upstream(resolvers, |resolver| &resolver.counts().scans_by_names);
    let help = "Scans that read link tags only, whose lists say nothing about what stands behind ordinary tags";
    registry.register("scans_by_names", help, by_names);
    let cuts = per_upstream(resolvers, |resolver| &resolver.counts().depth_cuts);
    let help = "Ordinary tags behind which not everything was read";
    registry.register("depth_cuts", help, cuts);
    let skipped = per_upstream(resolvers, |resolver| &resolver.counts().skipped_manifests);
    let help = "Manifests whose content cannot be believed";
    registry.register("manifests_skipped", help, skipped);
    let entries = per_upstream(resolvers, |resolver| &resolver.counts().tag_entries);
    let help = "Entries that pushes bring into referrers tags, by what became of them";
    registry.register("referrers_tag_entries", help, entries);
    let watched = per_upstream(resolvers, |resolver| &resolver.counts().watched_tag_entries);
    let help = "Entries of referrers tags that are looked for once more";
    registry.register("referrers_tag_entries_watched", help, watched);
}

/// The same metric of each upstream.
fn per_upstream<M: Clone>(resolvers: &[Resolver], metric: impl Fn(&Resolver) -> &M) -> Labelled<M> {
    let named = |resolver: &Resolver| (resolver.upstream().name().to_owned(), metric(resolver).clone());
    Labelled::new("upstream", resolvers.iter().map(named).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http::StatusCode;

    use super::*;
    use crate::metrics::Endpoint;

    #[test]
    fn counters_are_printed_with_their_labels() {
        let metrics = Arc::new(Metrics::default());
        metrics.answered(Endpoint::Referrers, StatusCode::OK, Duration::from_millis(3));
        metrics.answered(Endpoint::Referrers, StatusCode::BAD_GATEWAY, Duration::from_secs(100));
        metrics.sent(Endpoint::Referrers, 42);
        let watched = AdminSources {
            metrics,
            ..AdminSources::nothing()
        };
        let text = Registries::new(watched).text().unwrap();
        for line in [
            "refshim_requests_total{endpoint=\"referrers\",status=\"2xx\"} 1",
            "refshim_requests_total{endpoint=\"referrers\",status=\"5xx\"} 1",
            "refshim_request_duration_seconds_bucket{le=\"0.005\",endpoint=\"referrers\"} 1",
            "refshim_request_duration_seconds_bucket{le=\"60.0\",endpoint=\"referrers\"} 1",
            "refshim_request_duration_seconds_bucket{le=\"+Inf\",endpoint=\"referrers\"} 2",
            "refshim_request_duration_seconds_count{endpoint=\"referrers\"} 2",
            "refshim_response_bytes_total{endpoint=\"referrers\"} 42",
            "refshim_requests_in_flight 0",
            "refshim_connections 0",
            "refshim_panics_total 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
        }
        let of_others = text
            .lines()
            .filter(|line| line.contains("requests_total{endpoint=\"ping\""));
        assert_eq!(
            of_others.count(),
            0,
            "series appear when they are first counted:\n{text}"
        );
    }
}
