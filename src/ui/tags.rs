//! The page of a repository's tags, with the referrers of each.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::badge::Badge;
use super::badge_filter::KindFilter;
use super::frame;
use super::site::Site;
use super::text::{counted, foreign, short_name, tag_name};
use crate::oci::media_type::ManifestKind;
use crate::oci::{Digest, Reference, RepositoryName, Tag};

pub struct TagPage<'a> {
    pub site: &'a Site<'a>,
    pub repository: &'a RepositoryName,
    pub choice: TagChoice<'a>,
    /// The tags of this page, whatever refers to them.
    pub rows: Vec<Row>,
    /// Number of tags without link tags.
    pub total: usize,
    /// Number of those whose name contains what is searched for.
    pub matching: usize,
    /// Number of link tags.
    pub links: usize,
    /// Whether this is not the first page.
    pub continued: bool,
    /// The last tag on this page, if there are further ones.
    pub next: Option<Tag>,
}

/// Which tags are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct TagChoice<'a> {
    /// Only tags whose name contains this, in upper or lower case.
    pub search: &'a str,
    pub kind: KindFilter,
    /// The highest version first.
    pub newest_first: bool,
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
    /// Referrers of the image, and if it is an index, of its platforms.
    pub badges: BTreeMap<Badge, usize>,
    /// Number of platforms whose referrers are not counted.
    pub uncounted: usize,
}

impl TagPage<'_> {
    pub fn print(&self) -> String {
        let name = self.site.address.name(self.repository);
        let (shown, hidden): (Vec<&Row>, Vec<&Row>) = self.rows.iter().partition(|row| self.shows(row));
        let content = html! {
            h1 { (name) }
            p.lead { (self.counts()) }
            (self.filter())
            @if self.choice.kind != KindFilter::Any {
                p.note {
                    (shown.len()) " of the " (counted(self.rows.len(), "tag", "tags")) " on this page."
                    @if self.rows.len() < self.matching { " Those on other pages are not looked at here." }
                }
            }
            @if shown.is_empty() {
                p { @if hidden.is_empty() { "No tag is like that." } @else { "No tag on this page is like that." } }
            } @else {
                div.scroll {
                    table {
                        caption.hidden { "Tags of " (name) " and what refers to them" }
                        thead { tr { th scope="col" { "Tag" } th scope="col" { "Referred to by" } th scope="col" { "Image" } } }
                        tbody { @for row in shown { (self.row(row)) } }
                    }
                }
            }
            (self.pages())
        };
        let steps = [(name.clone(), self.site.address.tags(self.repository, &[]))];
        frame::page(self.site, &name, &steps, &content)
    }

    /// What cannot be told is always shown.
    fn shows(&self, row: &Row) -> bool {
        match &row.tagged {
            Ok(tagged) if tagged.uncounted > 0 && self.choice.kind != KindFilter::Any => true,
            Ok(tagged) => self.choice.kind.shows_counts(&tagged.badges),
            Err(_) => true,
        }
    }

    fn counts(&self) -> String {
        let tags = match self.matching == self.total {
            true => counted(self.total, "tag", "tags"),
            false => format!("{} of {}", self.matching, counted(self.total, "tag", "tags")),
        };
        let page = match self.rows.len() < self.matching {
            true => format!(" ({} on this page)", self.rows.len()),
            false => String::new(),
        };
        match self.links {
            0 => format!("{tags}{page}"),
            1 => format!("{tags}{page}, and one link tag that is not shown"),
            links => format!("{tags}{page}, and {links} link tags that are not shown"),
        }
    }

    fn filter(&self) -> Markup {
        let TagChoice {
            search,
            kind,
            newest_first,
        } = self.choice;
        html! {
            form.filter method="get" action=(self.site.address.tags(self.repository, &[])) role="search" {
                div.fields {
                    div.field {
                        label for="q" { "Tags that contain" }
                        input #q type="text" name="q" value=(search) autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="128";
                    }
                    div.field {
                        label for="kind" { "Referred to by" }
                        select #kind name="kind" {
                            @for choice in KindFilter::ALL {
                                option value=(choice.value()) selected[choice == kind] {
                                    @match choice {
                                        KindFilter::Any => "anything or nothing",
                                        KindFilter::Only(badge) => (badge.label()),
                                        KindFilter::Nothing => "nothing",
                                    }
                                }
                            }
                        }
                    }
                    div.field {
                        label for="order" { "Order" }
                        select #order name="order" {
                            option value="" { "oldest version first" }
                            option value=(NEWEST_FIRST) selected[newest_first] { "newest version first" }
                        }
                    }
                    @if let Some(namespace) = self.site.address.repeated() {
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
                th.tag scope="row" { a href=(self.site.address.details(self.repository, &reference, &[])) { (tag_name(&row.tag)) } }
                @match &row.tagged {
                    Ok(tagged) => {
                        td { (badges(tagged)) }
                        td { (what(tagged.kind)) " " code.short title=(tagged.digest) { (short_name(&tagged.digest)) } }
                    },
                    Err(reason) => td colspan="2" { span.bad { "cannot be told: " (foreign(reason)) } },
                }
            }
        }
    }

    fn pages(&self) -> Markup {
        let TagChoice { search, kind, .. } = self.choice;
        let order = if self.choice.newest_first { NEWEST_FIRST } else { "" };
        let chosen = [("q", search), ("kind", kind.value()), ("order", order)];
        let mut parameters: Vec<_> = chosen.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let first = self.site.address.tags(self.repository, &parameters);
        html! {
            @if self.continued || self.next.is_some() {
                nav.pages aria-label="Pages" {
                    @if self.continued { a href=(first) { "First tags" } }
                    @if let Some(next) = &self.next {
                        @let () = parameters.push(("after", next.as_str()));
                        a rel="next" href=(self.site.address.tags(self.repository, &parameters)) { "More tags" }
                    }
                }
            }
        }
    }
}

/// The value of the parameter `order`.
pub const NEWEST_FIRST: &str = "newest";

fn badges(tagged: &TagSummary) -> Markup {
    html! {
        @if tagged.badges.is_empty() && tagged.uncounted == 0 {
            span.quiet { "nothing" }
        } @else {
            span.badges { @for (badge, count) in &tagged.badges { (badge.print(*count)) } }
        }
        @if tagged.uncounted > 0 {
            span.quiet { " without those of " (counted(tagged.uncounted, "platform", "platforms")) ": open the tag to see them" }
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
