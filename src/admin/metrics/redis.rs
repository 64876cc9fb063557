//! How Redis is, where the cache has one.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::cache::Cache;

pub(super) struct Redis(pub(super) Arc<Cache>);

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis")
    }
}

impl Collector for Redis {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(health) = self.0.shared_health() else {
            return Ok(());
        };
        let up = ConstGauge::new(u64::from(health.open));
        let help = "Whether Redis is connected and asked";
        up.encode(encoder.encode_descriptor("redis_up", help, None, up.metric_type())?)?;
        let failures = ConstCounter::new(health.failures);
        let help = "Connections to Redis that broke or could not be made";
        failures.encode(encoder.encode_descriptor("redis_failures", help, None, failures.metric_type())?)
    }
}
