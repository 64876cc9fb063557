//! Metrics of one name that labels tell apart.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::{MetricType, TypedMetric};

use super::label::LabelSet;

/// What `prometheus-client`'s `Family` is for label sets that nobody knows beforehand, for those that are all known: a metric is
/// found by its place, where a `Family` hashes the labels and takes a lock at each count. Clones share their metrics.
#[derive(Clone)]
pub struct FixedFamily<L, M> {
    metrics: Arc<[OnceLock<M>]>,
    make: fn() -> M,
    labels: PhantomData<fn(L)>,
}

pub type CounterFamily<L> = FixedFamily<L, Counter>;

impl<L: LabelSet, M> FixedFamily<L, M> {
    /// A metric is made, and printed from then on, when it is first asked for.
    pub fn new(make: fn() -> M) -> Self {
        Self {
            metrics: L::all().map(|_| OnceLock::new()).collect(),
            make,
            labels: PhantomData,
        }
    }

    pub fn get(&self, labels: L) -> &M {
        self.metrics[labels.index()].get_or_init(self.make)
    }

    /// Those that were made.
    pub fn iter(&self) -> impl Iterator<Item = (L, &M)> {
        L::all()
            .zip(self.metrics.iter())
            .filter_map(|(labels, metric)| Some((labels, metric.get()?)))
    }
}

impl<L: LabelSet> CounterFamily<L> {
    /// All counters are there from the start.
    pub fn from_zero() -> Self {
        let family = Self::default();
        L::all().for_each(|labels| _ = family.get(labels));
        family
    }
}

impl<L: LabelSet, M: Default> Default for FixedFamily<L, M> {
    fn default() -> Self {
        Self::new(M::default)
    }
}

impl<L, M> fmt::Debug for FixedFamily<L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedFamily").finish_non_exhaustive()
    }
}

impl<L: LabelSet, M: EncodeMetric + TypedMetric> EncodeMetric for FixedFamily<L, M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (labels, metric) in self.iter() {
            metric.encode(encoder.encode_family(&labels.pairs())?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}
