//! The platforms that the entries of an index are for (image-spec, "Image Index").

use std::collections::BTreeMap;

use serde::Deserialize;

use super::capped::Capped;
use crate::oci::Digest;

/// Entries whose platform is read.
const MAX_ENTRIES: usize = 2000;

#[derive(Deserialize)]
struct PlatformIndex {
    #[serde(default)]
    manifests: Capped<PlatformEntry, MAX_ENTRIES>,
}

#[derive(Deserialize)]
struct PlatformEntry {
    digest: Option<String>,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
}

/// The platform of each entry, such as `linux/arm/v7`. Empty if `index` is none.
pub fn platform_names(index: &[u8]) -> BTreeMap<Digest, String> {
    let Ok(index) = serde_json::from_slice::<PlatformIndex>(index) else {
        return BTreeMap::new();
    };
    let named = index.manifests.first.into_iter().filter_map(|entry| {
        let digest = Digest::parse(&entry.digest?).ok()?;
        Some((digest, entry.platform?.name()))
    });
    named.collect()
}

impl Platform {
    fn name(self) -> String {
        let version = self.os_version.map(|version| format!(" {version}")).unwrap_or_default();
        let parts = [self.os, self.architecture, self.variant];
        let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
        format!("{}{version}", parts.join("/"))
    }
}
