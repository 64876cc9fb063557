//! The same metric of several things, such as upstreams, told apart by a first label that holds their names.

use std::fmt;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, TypedMetric};

use crate::metrics::{FixedFamily, LabelSet};

#[derive(Debug)]
pub(super) struct Labelled<M> {
    label: &'static str,
    /// By the value of the label.
    metrics: Vec<(String, M)>,
}

impl<M> Labelled<M> {
    pub(super) fn new(label: &'static str, metrics: Vec<(String, M)>) -> Self {
        Self { label, metrics }
    }
}

impl EncodeMetric for Labelled<Counter> {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.encode_each(encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

impl EncodeMetric for Labelled<Gauge> {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.encode_each(encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

impl<M: EncodeMetric> Labelled<M> {
    fn encode_each(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (value, metric) in &self.metrics {
            metric.encode(encoder.encode_family(&[(self.label, value.as_str())])?)?;
        }
        Ok(())
    }
}

impl<L: LabelSet, M: EncodeMetric + TypedMetric> EncodeMetric for Labelled<FixedFamily<L, M>> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (value, family) in &self.metrics {
            for (labels, metric) in family.iter() {
                let labels = ([(self.label, value.as_str())], labels.pairs());
                metric.encode(encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}
