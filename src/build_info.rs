//! What was built: version, commit and features.

use std::sync::LazyLock;

/// Of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Of the sources; "unknown" where neither git nor the packager told it (`build.rs`).
pub const COMMIT: &str = env!("REFSHIM_BUILT_FROM");
/// The optional parts that are in.
pub const FEATURES: &[&str] = &[
    #[cfg(feature = "ecr")]
    "ecr",
    #[cfg(feature = "otel")]
    "otel",
];
/// The command that builds all of them.
pub const FULL_BUILD: &str = "cargo build --release --features ecr,otel";

static DESCRIPTION: LazyLock<String> = LazyLock::new(|| {
    let features = match FEATURES {
        [] => "no optional features".to_owned(),
        features => format!("features {}", features.join(" and ")),
    };
    format!("{VERSION} (commit {COMMIT}, {features})")
});

/// Version, commit and features, as `--version` prints them.
pub fn description() -> &'static str {
    &DESCRIPTION
}
