//! In place of `otel` in builds without OpenTelemetry. The configuration refuses a collector there.

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Identity;

use super::{TelemetryError, collector_variables};
use crate::build_info::FULL_BUILD;
use crate::config::TelemetryConfig;

/// Warns of variables of the OpenTelemetry standard, which refshim does not even read here.
pub(super) fn warn_of_vain_variables() {
    for name in collector_variables() {
        tracing::warn!(
            "{name} has no effect: this build has no OpenTelemetry; use a released one, or build with '{FULL_BUILD}'"
        );
    }
}

#[derive(Default)]
pub struct Traces;

impl Traces {
    pub fn start(_: &TelemetryConfig) -> Result<Self, TelemetryError> {
        Ok(Self)
    }

    pub fn layer<S: Subscriber>(&self) -> Option<impl Layer<S> + use<S>> {
        None::<Identity>
    }

    pub async fn finish(self) {}
}
