//! The cache: where lookups were answered, and how Redis is.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::cache::Cache;

pub(super) struct Stores(pub(super) Arc<Cache>);

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stores")
    }
}

impl Collector for Stores {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.lookups(&mut encoder)?;
        self.redis(&mut encoder)
    }
}

impl Stores {
    fn lookups(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let help = "Lookups in the cache, by what was looked up and which tier held it";
        let mut family = encoder.encode_descriptor("cache_lookups", help, None, MetricType::Counter)?;
        for (entry, tier, count) in self.0.lookups().iter().filter(|(_, _, count)| *count > 0) {
            let labels = [("entry", entry.as_str()), ("tier", tier.as_str())];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn redis(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
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
