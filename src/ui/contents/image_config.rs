//! What an image's config says of the image (image-spec, "Image Configuration").

use serde::Deserialize;

/// The platform and the date of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ImageConfig {
    pub os: Option<String>,
    pub architecture: Option<String>,
    pub variant: Option<String>,
    /// RFC 3339.
    pub created: Option<String>,
}

impl ImageConfig {
    /// `None` if it cannot be read.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Such as `linux/arm/v7`; `None` if it is for no platform.
    pub(in crate::ui) fn platform(&self) -> Option<String> {
        let parts = [&self.os, &self.architecture, &self.variant];
        let parts: Vec<&str> = parts
            .into_iter()
            .flatten()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        (!parts.is_empty()).then(|| parts.join("/"))
    }
}
