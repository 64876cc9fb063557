//! The page of a repository's tags, with the referrers of each.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::address::Address;
use super::badge::Badge;
use super::frame;
use super::text::{foreign, short};
use crate::oci::media_type::ManifestKind;
use crate::oci::{Digest, Reference, RepositoryName, Tag};

pub struct TagPage<'a> {
    pub address: &'a Address,
    pub repository: &'a RepositoryName,
    /// Shows only tags whose name contains this.
    pub search: &'a str,
    pub rows: Vec<Row>,
    /// Number of tags without link tags.
    pub total: usize,
    /// Number of link tags.
    pub links: usize,
    /// Whether this is not the first page.
    pub continued: bool,
    /// The last tag on this page, if there are further ones.
    pub next: Option<Tag>,
}

pub struct Row {
    pub tag: Tag,
    /// Or why they are not known.
    pub tagged: Result<TagSummary, String>,
}

/// The image behind a tag.
pub struct TagSummary {
    pub digest: Digest,
    pub kind: Option<ManifestKind>,
    pub badges: BTreeMap<Badge, usize>,
}

impl TagPage<'_> {
    pub fn print(&self) -> String {
        let name = self.address.name(self.repository);
        let content = html! {
            h1 { (name) }
            p.lead { (self.counts()) }
            (self.filter())
            @if self.rows.is_empty() {
                p { "No tag is like that." }
            } @else {
                div.scroll {
                    table {
                        caption.hidden { "Tags of " (name) " and what refers to them" }
                        thead { tr { th scope="col" { "Tag" } th scope="col" { "Referred to by" } th scope="col" { "What" } th scope="col" { "Digest" } } }
                        tbody { @for row in &self.rows { (self.row(row)) } }
                    }
                }
            }
            (self.pages())
        };
        let steps = [(name.clone(), self.address.tags(self.repository, "", None))];
        frame::page(self.address, &name, &steps, &content)
    }

    fn counts(&self) -> String {
        let tags = |count: usize| format!("{count} {}", if count == 1 { "tag" } else { "tags" });
        match self.links {
            0 => tags(self.total),
            1 => format!("{}, and one link tag that is not shown", tags(self.total)),
            links => format!("{}, and {links} link tags that are not shown", tags(self.total)),
        }
    }

    fn filter(&self) -> Markup {
        html! {
            form.filter method="get" action=(self.address.tags(self.repository, "", None)) role="search" {
                label for="q" { "Tags that contain" }
                div {
                    input #q type="text" name="q" value=(self.search) autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="128";
                    @if let Some(namespace) = &self.address.namespace {
                        input type="hidden" name="ns" value=(namespace);
                    }
                    button type="submit" { "Filter" }
                }
            }
        }
    }

    fn row(&self, row: &Row) -> Markup {
        let reference = Reference::Tag(row.tag.clone());
        html! {
            tr {
                th scope="row" { a href=(self.address.details(self.repository, &reference)) { (row.tag) } }
                @match &row.tagged {
                    Ok(tagged) => {
                        td { (badges(&tagged.badges)) }
                        td { (what(tagged.kind)) }
                        td { code title=(tagged.digest) { (short(&tagged.digest)) } }
                    },
                    Err(reason) => td colspan="3" { span.bad { "cannot be told: " (foreign(reason)) } },
                }
            }
        }
    }

    fn pages(&self) -> Markup {
        html! {
            @if self.continued || self.next.is_some() {
                nav.pages aria-label="Pages" {
                    @if self.continued {
                        a href=(self.address.tags(self.repository, self.search, None)) { "First tags" }
                    }
                    @if let Some(next) = &self.next {
                        a rel="next" href=(self.address.tags(self.repository, self.search, Some(next.as_str()))) { "More tags" }
                    }
                }
            }
        }
    }
}

fn badges(counts: &BTreeMap<Badge, usize>) -> Markup {
    html! {
        @if counts.is_empty() {
            span.quiet { "nothing" }
        } @else {
            span.badges { @for (badge, count) in counts { (badge.print(*count)) } }
        }
    }
}

pub(super) fn what(kind: Option<ManifestKind>) -> &'static str {
    match kind {
        Some(ManifestKind::Image) => "image",
        Some(ManifestKind::Index) => "index",
        Some(ManifestKind::Artifact | ManifestKind::OrasArtifact) => "artifact",
        Some(ManifestKind::Node) => "node",
        None => "unknown",
    }
}
