//! The page of one manifest: what it is, what it says, and the tree of its referrers.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::badge::Badge;
use super::badge_filter::KindFilter;
use super::claims::{ClaimsView, PartClaims};
use super::commands::{ClientAddress, commands};
use super::contents::ImageConfig;
use super::frame;
use super::parts;
use super::platforms::{PlatformImage, Platforms};
use super::referrer_tree::{ReferrerTree, TreePrinter, notes};
use super::site::Site;
use super::tags::what;
use super::text::{date, foreign, short, short_name, size, tag_name};
use crate::oci::{Digest, Manifest, Reference, RepositoryName, timestamp};

/// Entries of each list that are shown at first, and how many more each time.
pub const FIRST_SHOWN: usize = 50;
const MORE_SHOWN: usize = 200;
/// Entries of a list that are shown at most.
pub const MOST_SHOWN: usize = 2000;

pub struct Details<'a> {
    pub site: &'a Site<'a>,
    pub repository: &'a RepositoryName,
    /// The reference in the request.
    pub reference: &'a Reference,
    pub choice: &'a DetailChoice,
    pub digest: &'a Digest,
    pub media_type: &'a str,
    /// In bytes.
    pub size: u64,
    /// `None` if it cannot be parsed.
    pub manifest: Option<&'a Manifest>,
    /// What it is to its subject; `None` for images.
    pub kind: Option<Badge>,
    /// What it refers to.
    pub subject: Option<&'a Digest>,
    /// An image's config.
    pub config: Option<&'a ImageConfig>,
    /// The names of an index's platforms.
    pub platform_names: &'a BTreeMap<Digest, String>,
    /// What the manifests of an index say of themselves.
    pub platforms: &'a BTreeMap<Digest, PlatformImage>,
    /// What the parts of an artifact say.
    pub claims: &'a [PartClaims<'a>],
    /// The referrers of every manifest in the tree.
    pub below: &'a BTreeMap<Digest, ReferrerTree>,
    /// How clients reach the repository; `None` if that cannot be told.
    pub client: Option<&'a ClientAddress>,
}

/// What of a manifest is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetailChoice {
    /// Entries of each list.
    pub shown: usize,
    /// Referrers of this kind.
    pub kind: KindFilter,
    /// What it was found to refer to.
    pub subject: Option<Digest>,
}

impl Details<'_> {
    pub fn print(&self) -> String {
        let name = self.site.address.name(self.repository);
        let here = self.site.address.details(self.repository, self.reference, &[]);
        let shown = match self.reference {
            Reference::Tag(tag) => tag.to_string(),
            Reference::Digest(digest) => short(digest),
        };
        let tree = TreePrinter::new(self);
        let claims = ClaimsView {
            subject: self.subject,
            packages: self.choice.shown,
            more: self.more(usize::MAX),
        };
        let content = html! {
            h1 {
                (name)
                @match self.reference {
                    Reference::Tag(tag) => { span.quiet { ":" } (tag_name(tag)) },
                    Reference::Digest(digest) => { span.quiet { "@" } wbr; (short_name(digest)) },
                }
            }
            (self.facts())
            @if let Some(client) = self.client { (commands(client, (self.repository, self.digest), self.kind)) }
            (claims.print(self.claims))
            h2 { "Referred to by" }
            (tree.kinds())
            (tree.below(self.digest))
            (Platforms { details: self, tree: &tree }.print())
            (parts::print(self))
        };
        let steps = [
            (name.clone(), self.site.address.tags(self.repository, &[])),
            (shown.clone(), here),
        ];
        frame::page(self.site, &format!("{name} {shown}"), &steps, &content)
    }

    fn facts(&self) -> Markup {
        let kind = self.manifest.map(|manifest| manifest.kind);
        let annotations = self.manifest.map(|manifest| &manifest.annotations);
        let created = annotations.and_then(timestamp::created);
        let created = created.or_else(|| timestamp::parse(self.config?.created.as_deref()?));
        html! {
            dl.facts {
                @if let Some(kind) = self.kind { dt { "Kind" } dd { (kind.print(1)) } }
                @if let Some(subject) = self.subject { dt { "Refers to" } dd { (self.link_to(subject)) } }
                dt { "Digest" } dd { code data-copy="digest" { (self.digest) } }
                dt { "What" } dd { (what(kind)) ", " code { (foreign(self.media_type)) } }
                @if let Some(artifact_type) = self.manifest.and_then(stated_type) {
                    dt { "Artifact type" } dd { code { (foreign(artifact_type)) } }
                }
                @if self.kind.is_none() {
                    @if let Some(platform) = self.config.and_then(ImageConfig::platform) { dt { "Platform" } dd { (foreign(&platform)) } }
                    @if let Some(manifest) = self.manifest.filter(|manifest| manifest.config.is_some()) {
                        dt { "Size" } dd { (size(content_size(manifest))) }
                    }
                }
                @if let Some(created) = created { dt { "Created" } dd { (date(created)) } }
                dt { "Manifest" }
                dd { a href=(self.site.address.manifest(self.repository, self.digest)) download { "Download" } ", " (size(self.size)) }
            }
            @if let Some(annotations) = annotations { (notes(annotations)) }
        }
    }

    /// A link to another manifest of the repository.
    pub(super) fn link_to(&self, digest: &Digest) -> Markup {
        let target = self
            .site
            .address
            .details(self.repository, &Reference::Digest(digest.clone()), &[]);
        html! { a href=(target) title=(digest) { code { (short(digest)) } } }
    }

    /// The same page with more of every list, if one has `total` entries.
    pub(super) fn more(&self, total: usize) -> Option<String> {
        let shown = self.choice.shown;
        (total > shown && shown < MOST_SHOWN).then(|| {
            let more = (shown + MORE_SHOWN).min(MOST_SHOWN).to_string();
            self.with_choice(self.choice.kind, Some(&more))
        })
    }

    /// The same page with another choice.
    pub(super) fn with_choice(&self, kind: KindFilter, shown: Option<&str>) -> String {
        let mut parameters = Vec::new();
        parameters.extend(self.choice.subject.as_ref().map(|subject| ("of", subject.as_str())));
        parameters.extend(Some(("kind", kind.value())).filter(|(_, value)| !value.is_empty()));
        parameters.extend(shown.map(|shown| ("show", shown)));
        self.site.address.details(self.repository, self.reference, &parameters)
    }

    /// "50 of 60", with a link to more.
    pub(super) fn shown_of(&self, total: usize) -> Markup {
        let shown = total.min(self.choice.shown);
        html! {
            @if shown < total {
                p.more {
                    (shown) " of " (total) " are shown. "
                    @match self.more(total) {
                        Some(more) => a href=(more) { "Show more" },
                        None => "The others are in the manifest, which can be downloaded above.",
                    }
                }
            }
        }
    }
}

/// Config and layers of an image, as its registry has them.
pub(super) fn content_size(manifest: &Manifest) -> u64 {
    let parts = manifest.config.iter().chain(&manifest.layers);
    parts.fold(0, |sum, part| sum.saturating_add(part.size))
}

/// The artifact type, unless it is only the media type of the config.
fn stated_type(manifest: &Manifest) -> Option<&str> {
    let artifact_type = manifest.artifact_type.as_deref()?;
    let config = manifest.config.as_ref().map(|config| config.media_type.as_str());
    (config != Some(artifact_type)).then_some(artifact_type)
}
