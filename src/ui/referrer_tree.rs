//! The tree of what refers to a manifest, what refers to that, and so on.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use maud::{Markup, html};

use super::badge::{Badge, predicate_type};
use super::badge_filter::KindFilter;
use super::details::Details;
use super::text::{date, foreign, short, size};
use crate::oci::descriptor::Annotations;
use crate::oci::{Digest, Reference, Referrer, ReferrerList};

/// Of one manifest.
const MAX_ANNOTATIONS: usize = 20;

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

/// Renders the tree of referrers. Links may form circles, so the referrers of each manifest are shown once.
pub(super) struct TreePrinter<'a> {
    details: &'a Details<'a>,
    drawn: RefCell<BTreeSet<Digest>>,
}

impl<'a> TreePrinter<'a> {
    pub fn new(details: &'a Details<'a>) -> Self {
        Self {
            details,
            drawn: RefCell::default(),
        }
    }

    pub fn is_drawn(&self, digest: &Digest) -> bool {
        self.drawn.borrow().contains(digest)
    }

    /// Links to the same page with the referrers of one kind.
    pub fn kinds(&self) -> Markup {
        let mut counts: BTreeMap<Badge, usize> = BTreeMap::new();
        for digest in self.tops() {
            if let Some(ReferrerTree::Links { links, .. }) = self.details.below.get(digest) {
                for referrer in &links.referrers {
                    *counts.entry(Badge::of(referrer)).or_default() += 1;
                }
            }
        }
        let chosen = self.details.choice.kind;
        let total: usize = counts.values().sum();
        let counted = counts
            .into_iter()
            .map(|(badge, count)| (KindFilter::Only(badge), badge.label(), count));
        let all = [(KindFilter::Any, "All", total)];
        html! {
            @if total > 1 || chosen != KindFilter::Any {
                nav.kinds aria-label="Kinds of referrers" {
                    @for (kind, label, count) in all.into_iter().chain(counted) {
                        a href=(self.details.with_choice(kind, None)) aria-current=[(kind == chosen).then_some("true")] { (label) " " (count) }
                    }
                }
            }
        }
    }

    /// The manifest, and if it is an index, those that it lists.
    fn tops(&self) -> BTreeSet<&Digest> {
        let manifest = self.details.manifest.into_iter();
        let listed = manifest.flat_map(|manifest| &manifest.manifests);
        let listed = listed.map(|listed| &listed.digest);
        listed.chain([self.details.digest]).collect()
    }

    /// What refers to `digest`. Only at the top of the tree an empty list is shown as such.
    pub fn below(&self, digest: &Digest) -> Markup {
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
                    (self.list(digest, links))
                }
            },
        }
    }

    fn list(&self, subject: &Digest, links: &ReferrerList) -> Markup {
        let filter = match self.tops().contains(subject) {
            true => self.details.choice.kind,
            false => KindFilter::Any,
        };
        let chosen: Vec<&Referrer> = links
            .referrers
            .iter()
            .filter(|one| filter.shows(Badge::of(one)))
            .collect();
        let hidden = links.referrers.len() - chosen.len();
        html! {
            ul.tree {
                @for referrer in chosen.iter().take(self.details.choice.shown) { (self.node(subject, referrer)) }
            }
            (self.details.shown_of(chosen.len()))
            @if hidden > 0 { p.quiet { "and " (hidden) " of other kinds" } }
        }
    }

    fn node(&self, subject: &Digest, referrer: &Referrer) -> Markup {
        let Details { site, repository, .. } = self.details;
        let descriptor = &referrer.descriptor;
        let kind = descriptor.artifact_type.as_deref().unwrap_or(&descriptor.media_type);
        let sources: Vec<&str> = referrer.sources.iter().map(|source| source.as_str()).collect();
        // An index lists an attestation by the digest under which it is stored.
        let original = referrer.adopted.iter().map(|original| original.digest.clone());
        self.drawn.borrow_mut().extend(original);
        let reference = Reference::Digest(descriptor.digest.clone());
        // Its page leads back to the subject, which need not be in the manifest.
        let target = site
            .address
            .details(repository, &reference, &[("of", subject.as_str())]);
        html! {
            li {
                div.node {
                    p.title { (Badge::of(referrer).print(1)) " " a href=(target) title=(descriptor.digest) { code { (short(&descriptor.digest)) } } }
                    p.line { code { (foreign(kind)) } }
                    @if let Some(predicate) = predicate_type(&descriptor.annotations) { p.line { "predicate " code { (foreign(predicate)) } } }
                    p.line {
                        @if let Some(created) = referrer.created { (date(created)) " · " }
                        (size(descriptor.size)) " · found as " (sources.join(", ")) " · "
                        a href=(site.address.manifest(repository, &descriptor.digest)) download
                            aria-label=(format!("Download the manifest {}", short(&descriptor.digest))) { "manifest" }
                    }
                    (notes(&descriptor.annotations))
                }
                (self.below(&descriptor.digest))
            }
        }
    }
}

/// The annotations, collapsed.
pub(super) fn notes(annotations: &Annotations) -> Markup {
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
