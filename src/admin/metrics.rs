//! Counters as Prometheus reads them. The layers below only count; names and labels are made here, when somebody asks.

mod certificates;
mod stores;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::AdminSources;
use crate::metrics::{Endpoint, LATENCY_BOUNDS, Metrics};
use crate::oci::LinkSource;
use crate::referrers::{AnsweredFrom, ResolveCounts, Resolver};
use crate::registry::BackoffOutcome;
use certificates::Certificates;
use stores::Stores;

const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Everything that `/metrics` shows.
pub(super) fn registry(watched: AdminSources) -> Registry {
    let mut registry = Registry::with_prefix("refshim");
    let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "What is running", version);
    registry.register_collector(Box::new(RequestCollector(watched.metrics)));
    registry.register_collector(Box::new(Stores(watched.cache)));
    let upstreams = watched.resolvers.iter().map(|resolver| resolver.upstream().clone());
    registry.register_collector(Box::new(Certificates {
        listeners: watched.listeners,
        upstreams: upstreams.collect(),
    }));
    registry.register_collector(Box::new(UpstreamCollector(watched.resolvers)));
    registry
}

pub(super) fn text(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    Ok(text)
}

/// What callers asked for.
struct RequestCollector(Arc<Metrics>);

impl fmt::Debug for RequestCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callers")
    }
}

impl Collector for RequestCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let metrics = &self.0;
        self.requests(&mut encoder)?;
        self.durations(&mut encoder)?;
        self.bytes(&mut encoder)?;
        let gauges = [
            (
                "requests_in_flight",
                "Requests being answered, bodies included",
                metrics.in_flight(),
            ),
            ("connections", "Open connections of callers", metrics.connections()),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let panics = ConstCounter::new(metrics.panics());
        let help = "Requests that met a defect of refshim";
        panics.encode(encoder.encode_descriptor("panics", help, None, panics.metric_type())?)
    }
}

impl RequestCollector {
    fn requests(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let help = "Requests answered, by endpoint and class of status";
        let mut family = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
        for endpoint in Endpoint::ALL {
            let by_class = self.0.read(endpoint).by_class;
            for (status, count) in STATUS_CLASSES.into_iter().zip(by_class).filter(|(_, count)| *count > 0) {
                let labels = [("endpoint", endpoint.as_str()), ("status", status)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn durations(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let help = "From a request to the head of its answer";
        let mut family =
            encoder.encode_descriptor("request_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for endpoint in Endpoint::ALL {
            let reading = self.0.read(endpoint);
            let count: u64 = reading.by_latency.iter().sum();
            if count == 0 {
                continue;
            }
            let bounds = LATENCY_BOUNDS.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(reading.by_latency).collect();
            let labels = [("endpoint", endpoint.as_str())];
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                reading.latency_seconds,
                count,
                &buckets,
                None,
            )?;
        }
        Ok(())
    }

    fn bytes(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let help = "Bytes of response bodies sent to callers";
        let mut family = encoder.encode_descriptor("response", help, Some(&Unit::Bytes), MetricType::Counter)?;
        for endpoint in Endpoint::ALL {
            let sent = self.0.read(endpoint).bytes_sent;
            if sent > 0 {
                ConstCounter::new(sent).encode(family.encode_family(&[("endpoint", endpoint.as_str())])?)?;
            }
        }
        Ok(())
    }
}

/// One counter of a resolver.
type Reading = fn(&ResolveCounts) -> u64;

/// What the upstreams were asked, and what that told.
struct UpstreamCollector(Vec<Arc<Resolver>>);

impl fmt::Debug for UpstreamCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upstreams")
    }
}

impl Collector for UpstreamCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.requests(&mut encoder)?;
        self.held_back(&mut encoder)?;
        self.answers(&mut encoder)?;
        self.links(&mut encoder)?;
        let scans: [(_, _, Reading); 5] = [
            (
                "scans",
                "Scans for referrers, failed ones included",
                ResolveCounts::scans,
            ),
            (
                "scans_failed",
                "Scans that could not be finished",
                ResolveCounts::failed_scans,
            ),
            (
                "manifests_skipped",
                "Manifests whose content cannot be believed",
                ResolveCounts::skipped_manifests,
            ),
            (
                "scans_by_names",
                "Scans that read link tags only, whose lists say nothing about what stands behind ordinary tags",
                ResolveCounts::scans_by_names,
            ),
            (
                "depth_cuts",
                "Ordinary tags behind which not everything was read",
                ResolveCounts::depth_cuts,
            ),
        ];
        for (name, help, count) in scans {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for resolver in &self.0 {
                let labels = [("upstream", resolver.upstream().name())];
                ConstCounter::new(count(resolver.counts())).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl UpstreamCollector {
    fn requests(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let help = "Requests to upstreams, by what they were for and how they ended";
        let mut family = encoder.encode_descriptor("upstream_requests", help, None, MetricType::Counter)?;
        for upstream in self.0.iter().map(|resolver| resolver.upstream()) {
            for (kind, outcome, count) in upstream.requests().iter().filter(|(_, _, count)| *count > 0) {
                let labels = [
                    ("upstream", upstream.name()),
                    ("kind", kind.as_str()),
                    ("outcome", outcome.as_str()),
                ];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn held_back(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let help = "Reads of scans held back from an upstream that limits requests or fails";
        let mut family = encoder.encode_descriptor("scan_reads_held_back", help, None, MetricType::Counter)?;
        for upstream in self.0.iter().map(|resolver| resolver.upstream()) {
            for held in BackoffOutcome::ALL {
                let labels = [("upstream", upstream.name()), ("how", held.as_str())];
                ConstCounter::new(upstream.held_back().get(held)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn answers(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let help = "Questions for referrers, by where the answer came from";
        let mut family = encoder.encode_descriptor("answers", help, None, MetricType::Counter)?;
        for resolver in &self.0 {
            for from in AnsweredFrom::ALL {
                let labels = [("upstream", resolver.upstream().name()), ("from", from.as_str())];
                ConstCounter::new(resolver.counts().answers(from)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn links(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let help = "Links that scans found, once for each dialect";
        let mut family = encoder.encode_descriptor("links", help, None, MetricType::Counter)?;
        for resolver in &self.0 {
            for source in LinkSource::ALL {
                let labels = [("upstream", resolver.upstream().name()), ("dialect", source.as_str())];
                ConstCounter::new(resolver.counts().links(source)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::*;

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
        let text = text(&registry(watched)).unwrap();
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
            concat!("refshim_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
        }
    }
}
