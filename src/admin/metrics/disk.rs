//! How the cache on disk is, where there is one.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::cache::Cache;

pub(super) struct Disk(pub(super) Arc<Cache>);

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

impl Collector for Disk {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(health) = self.0.disk_health() else {
            return Ok(());
        };
        let up = ConstGauge::new(u64::from(health.open));
        let help = "Whether the cache on disk is read and written";
        up.encode(encoder.encode_descriptor("disk_up", help, None, up.metric_type())?)?;
        let used = ConstGauge::new(health.used);
        let help = "Bytes that the entries of the cache on disk take";
        used.encode(encoder.encode_descriptor("disk_used", help, Some(&Unit::Bytes), used.metric_type())?)?;
        let limit = ConstGauge::new(health.limit);
        let help = "Bytes that they may take: cache.disk_bytes";
        limit.encode(encoder.encode_descriptor("disk_limit", help, Some(&Unit::Bytes), limit.metric_type())?)?;
        let dropped = ConstCounter::new(health.dropped);
        let help = "Writes to the cache on disk that were dropped";
        dropped.encode(encoder.encode_descriptor("disk_dropped", help, None, dropped.metric_type())?)?;
        let failures = ConstCounter::new(health.failures);
        let help = "Times that the cache on disk failed";
        failures.encode(encoder.encode_descriptor("disk_failures", help, None, failures.metric_type())?)
    }
}
