//! In place of `otel` in builds without OpenTelemetry. The configuration refuses a collector there.

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Identity;

use super::TelemetryError;
use crate::config::TelemetryConfig;

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
