//! The collector to which traces are sent.

use serde::Deserialize;
use url::Url;

use super::values;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// URL of an OpenTelemetry collector (OTLP over HTTP); spans go to `/v1/traces` there. Not in every build.
    #[serde(deserialize_with = "values::origin")]
    pub otlp_endpoint: Option<Url>,
}

impl TelemetryConfig {
    /// Whether this build can send traces, if the configuration asks for it.
    pub fn is_built_in(&self) -> bool {
        self.otlp_endpoint.is_none() || cfg!(feature = "otel")
    }
}
