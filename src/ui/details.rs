//! The page of one manifest: its contents, and the tree of its referrers.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use maud::{Markup, html};

use super::address::Address;
use super::badge::Badge;
use super::frame;
use super::tags::what;
use super::text::{foreign, short, size};
use crate::oci::descriptor::Annotations;
use crate::oci::{Descriptor, Digest, Manifest, Reference, Referrer, ReferrerList, RepositoryName, timestamp};

/// Of one manifest.
const MAX_ANNOTATIONS: usize = 20;
/// Parts of a manifest, and manifests of an index.
const MAX_PARTS: usize = 50;

pub struct Details<'a> {
    pub address: &'a Address,
    pub repository: &'a RepositoryName,
    /// The reference in the request.
    pub reference: &'a Reference,
    pub digest: &'a Digest,
    pub media_type: &'a str,
    /// In bytes.
    pub size: u64,
    /// `None` if it cannot be parsed.
    pub manifest: Option<&'a Manifest>,
    /// The referrers of every manifest in the tree.
    pub below: &'a BTreeMap<Digest, ReferrerTree>,
}

/// The referrers of one manifest.
pub enum ReferrerTree {
    Links {
        links: Arc<ReferrerList>,
        /// The age of the list, if it is stale because the registry failed.
        stale: Option<Duration>,
    },
    /// Why they are not known.
    Unknown(String),
}

impl Details<'_> {
    pub fn print(&self) -> String {
        let name = self.address.name(self.repository);
        let here = self.address.details(self.repository, self.reference);
        let shown = match self.reference {
            Reference::Tag(tag) => tag.to_string(),
            Reference::Digest(digest) => short(digest),
        };
        let tree = TreePrinter {
            details: self,
            drawn: RefCell::default(),
        };
        let content = html! {
            h1 { (name) span.quiet { @match self.reference { Reference::Tag(_) => ":", Reference::Digest(_) => "@" } } (shown) }
            (self.facts())
            h2 { "Referred to by" }
            (tree.below(self.digest))
            (self.listed(&tree))
            (self.parts())
        };
        let steps = [
            (name.clone(), self.address.tags(self.repository, "", None)),
            (shown.clone(), here),
        ];
        frame::page(self.address, &format!("{name} {shown}"), &steps, &content)
    }

    fn facts(&self) -> Markup {
        let kind = self.manifest.map(|manifest| manifest.kind);
        let annotations = self.manifest.map(|manifest| &manifest.annotations);
        html! {
            dl.facts {
                dt { "Digest" } dd { code { (self.digest) } }
                dt { "What" } dd { (what(kind)) ", " code { (foreign(self.media_type)) } }
                @if let Some(artifact_type) = self.manifest.and_then(stated_type) {
                    dt { "Artifact type" } dd { code { (foreign(artifact_type)) } }
                }
                @if let Some(created) = annotations.and_then(timestamp::created) {
                    dt { "Created" } dd { (date(created)) }
                }
                dt { "Manifest" }
                dd { a href=(self.address.manifest(self.repository, self.digest)) download { "Download" } ", " (size(self.size)) }
            }
            @if let Some(annotations) = annotations { (notes(annotations)) }
        }
    }

    /// The manifests of an index, each with its referrers.
    fn listed(&self, tree: &TreePrinter<'_>) -> Markup {
        let listed = self
            .manifest
            .map(|manifest| manifest.manifests.as_slice())
            .unwrap_or_default();
        html! {
            @if !listed.is_empty() {
                h2 { "Manifests in this index" }
                ul.tree {
                    @for descriptor in listed.iter().take(MAX_PARTS) {
                        // Not BuildKit's attestations, which are shown as referrers of the manifest that they attest.
                        @if !tree.is_drawn(&descriptor.digest) { (self.one_listed(descriptor, tree)) }
                    }
                }
            }
        }
    }

    fn one_listed(&self, descriptor: &Descriptor, tree: &TreePrinter<'_>) -> Markup {
        html! {
            li {
                div.node {
                    (self.digest_link(&descriptor.digest))
                    p.line { code { (foreign(&descriptor.media_type)) } ", " (size(descriptor.size)) }
                }
                (tree.below(&descriptor.digest))
            }
        }
    }

    /// The contents of the manifest.
    fn parts(&self) -> Markup {
        let Some(manifest) = self.manifest else {
            return html! {};
        };
        let config = manifest.config.iter().map(|part| ("config", part));
        let layers = manifest.layers.iter().map(|part| ("layer", part));
        let blobs = manifest.blobs.iter().map(|part| ("blob", part));
        let parts: Vec<_> = config.chain(layers).chain(blobs).take(MAX_PARTS).collect();
        html! {
            @if !parts.is_empty() {
                h2 { "Content" }
                div.scroll {
                    table {
                        thead { tr { th scope="col" { "Part" } th scope="col" { "Media type" } th scope="col" { "Size" } th scope="col" { "Digest" } } }
                        tbody {
                            @for (role, part) in parts {
                                tr {
                                    th scope="row" { (role) }
                                    td { code { (foreign(&part.media_type)) } }
                                    td.number { (size(part.size)) }
                                    td { a href=(self.address.blob(self.repository, &part.digest)) download title=(part.digest) { code { (short(&part.digest)) } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn digest_link(&self, digest: &Digest) -> Markup {
        let target = self
            .address
            .details(self.repository, &Reference::Digest(digest.clone()));
        html! { a href=(target) title=(digest) { code { (short(digest)) } } }
    }
}

/// Renders the tree of referrers. Links may form circles, so the referrers of each manifest are shown once.
struct TreePrinter<'a> {
    details: &'a Details<'a>,
    drawn: RefCell<BTreeSet<Digest>>,
}

impl TreePrinter<'_> {
    fn is_drawn(&self, digest: &Digest) -> bool {
        self.drawn.borrow().contains(digest)
    }

    /// Whether this is the top of the tree, where an empty list is shown as such.
    fn below(&self, digest: &Digest) -> Markup {
        let is_top = digest == self.details.digest;
        if !self.drawn.borrow_mut().insert(digest.clone()) {
            return html! { p.quiet { "its referrers are shown above" } };
        }
        match self.details.below.get(digest) {
            None => html! { p.quiet { "open it to see its referrers" } },
            Some(ReferrerTree::Unknown(reason)) => {
                html! { p.bad { "its referrers are not known: " (foreign(reason)) } }
            }
            Some(ReferrerTree::Links { links, stale }) => html! {
                @if let Some(age) = stale {
                    p.note { "The registry does not answer; this list is " (age.as_secs()) " seconds old." }
                }
                @if links.referrers.is_empty() {
                    @if is_top { p { "Nothing." } }
                } @else {
                    ul.tree { @for referrer in &links.referrers { (self.node(referrer)) } }
                }
            },
        }
    }

    fn node(&self, referrer: &Referrer) -> Markup {
        let Details {
            address, repository, ..
        } = self.details;
        let descriptor = &referrer.descriptor;
        let kind = descriptor.artifact_type.as_deref().unwrap_or(&descriptor.media_type);
        let sources: Vec<&str> = referrer.sources.iter().map(|source| source.as_str()).collect();
        html! {
            li {
                div.node {
                    p.title { (Badge::of(referrer).print(1)) " " (self.details.digest_link(&descriptor.digest)) }
                    p.line { code { (foreign(kind)) } }
                    p.line {
                        @if let Some(created) = referrer.created { (date(created)) " · " }
                        (size(descriptor.size)) " · found as " (sources.join(", ")) " · "
                        a href=(address.manifest(repository, &descriptor.digest)) download
                            aria-label=(format!("Download the manifest {}", short(&descriptor.digest))) { "manifest" }
                    }
                    (notes(&descriptor.annotations))
                }
                (self.below(&descriptor.digest))
            }
        }
    }
}

/// The artifact type, unless it is only the media type of the config.
fn stated_type(manifest: &Manifest) -> Option<&str> {
    let artifact_type = manifest.artifact_type.as_deref()?;
    let config = manifest.config.as_ref().map(|config| config.media_type.as_str());
    (config != Some(artifact_type)).then_some(artifact_type)
}

/// The annotations, collapsed.
fn notes(annotations: &Annotations) -> Markup {
    let more = annotations.len().saturating_sub(MAX_ANNOTATIONS);
    html! {
        @if !annotations.is_empty() {
            details {
                summary { (annotations.len()) @if annotations.len() == 1 { " annotation" } @else { " annotations" } }
                dl.notes {
                    @for (key, value) in annotations.iter().take(MAX_ANNOTATIONS) {
                        dt { (foreign(key)) } dd { (foreign(value)) }
                    }
                }
                @if more > 0 { p.quiet { "and " (more) " more in the manifest" } }
            }
        }
    }
}

fn date(created: i128) -> Markup {
    let text = timestamp::to_rfc3339(created).unwrap_or_default();
    // The date to the second, in UTC.
    let shown = match (text.get(..10), text.get(11..19)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        _ => text.clone(),
    };
    html! { time datetime=(text) { (shown) } }
}
