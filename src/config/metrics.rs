//! What is counted beside what always is.

use serde::Deserialize;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Count, and log, whether images that are pulled had a signature that refshim knew of.
    pub signed_pulls: bool,
}
