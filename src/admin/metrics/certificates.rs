//! When the certificates that refshim shows expire. Read at each scrape: files of listeners may be renewed.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::registry::Upstream;
use crate::tls::Acceptor;

pub(super) struct Certificates {
    /// The certificates' names, and who shows them.
    pub(super) listeners: Vec<(&'static str, Arc<Acceptor>)>,
    pub(super) upstreams: Vec<Arc<Upstream>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let listeners = self.listeners.iter().map(|(name, tls)| (*name, "", tls.expires()));
        let upstreams = self.upstreams.iter();
        let clients = upstreams.map(|upstream| ("client", upstream.name(), upstream.certificate_expires()));
        let known: Vec<_> = listeners
            .chain(clients)
            .filter_map(|(name, upstream, expires)| Some((name, upstream, expires?)))
            .collect();
        if known.is_empty() {
            return Ok(());
        }
        let help = "When a certificate that refshim shows ends, or one between it and its authority";
        let unit = Unit::Other("timestamp_seconds".to_owned());
        let mut family = encoder.encode_descriptor("certificate_expiry", help, Some(&unit), MetricType::Gauge)?;
        for (name, upstream, expires) in known {
            let seconds = since_1970(expires).as_secs();
            // To Prometheus, an empty label is none.
            let labels = [("certificate", name), ("upstream", upstream)];
            ConstGauge::new(seconds).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}
