//! The manifests of an index, each with its platform, size, date and referrers.

use maud::{Markup, html};

use super::details::{Details, content_size};
use super::referrer_tree::TreePrinter;
use super::text::{date, foreign, size};
use crate::oci::{Descriptor, Manifest, timestamp};

use super::contents::ImageConfig;

/// What an image of an index says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlatformImage {
    /// Of its config and layers, in bytes.
    size: u64,
    /// In nanoseconds since 1970.
    created: Option<i128>,
}

impl PlatformImage {
    pub fn new(manifest: &Manifest, config: Option<&ImageConfig>) -> Self {
        let configured = || timestamp::parse(config?.created.as_deref()?);
        Self {
            size: content_size(manifest),
            created: timestamp::created(&manifest.annotations).or_else(configured),
        }
    }
}

pub(super) struct Platforms<'a> {
    pub details: &'a Details<'a>,
    pub tree: &'a TreePrinter<'a>,
}

impl Platforms<'_> {
    pub fn print(&self) -> Markup {
        let listed = self.details.manifest.map(|manifest| manifest.manifests.as_slice());
        let listed = listed.unwrap_or_default();
        html! {
            @if !listed.is_empty() {
                h2 { "Manifests in this index" }
                ul.tree {
                    @for descriptor in listed.iter().take(self.details.choice.shown) {
                        // Not BuildKit's attestations, which are shown as referrers of the manifest that they attest.
                        @if !self.tree.is_drawn(&descriptor.digest) { (self.one(descriptor)) }
                    }
                }
                (self.details.shown_of(listed.len()))
            }
        }
    }

    fn one(&self, descriptor: &Descriptor) -> Markup {
        let name = self.details.platform_names.get(&descriptor.digest);
        let image = self.details.platforms.get(&descriptor.digest);
        let created = timestamp::created(&descriptor.annotations).or_else(|| image?.created);
        html! {
            li {
                div.node {
                    p.title {
                        @if let Some(name) = name.filter(|name| !name.is_empty()) { strong { (foreign(name)) } }
                        (self.details.link_to(&descriptor.digest))
                    }
                    p.line {
                        @if let Some(created) = created { (date(created)) " · " }
                        @if let Some(image) = image { (size(image.size)) " · " }
                        code { (foreign(&descriptor.media_type)) }
                    }
                }
                (self.tree.below(&descriptor.digest))
            }
        }
    }
}
