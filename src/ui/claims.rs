//! What the content of an artifact says, marked as unverified.

use maud::{Markup, html};

use super::contents::{ArtifactClaims, PackageList, Signer};
use super::text::{date_of_seconds, foreign};
use crate::oci::{Descriptor, Digest};

/// A part of the artifact and what it says, or why that is not known.
pub struct PartClaims<'a> {
    pub part: &'a Descriptor,
    pub claims: Result<ArtifactClaims, String>,
}

/// How the claims of a page are shown.
pub(super) struct ClaimsView<'a> {
    /// What the artifact refers to.
    pub subject: Option<&'a Digest>,
    /// Number of packages that are shown.
    pub packages: usize,
    /// The same page with more of them.
    pub more: Option<String>,
}

impl ClaimsView<'_> {
    pub fn print(&self, parts: &[PartClaims<'_>]) -> Markup {
        html! {
            @if !parts.is_empty() {
                h2 { "What it says" }
                p.note { strong { "Not verified here." } " This is read from the content, which anybody who may push could have written." }
                @for part in parts {
                    @match &part.claims {
                        Ok(claims) => (self.of_part(claims)),
                        Err(reason) => p.bad { "The content of type " code { (foreign(&part.part.media_type)) } " is not shown: " (foreign(reason)) },
                    }
                }
            }
        }
    }

    fn of_part(&self, claims: &ArtifactClaims) -> Markup {
        let others = claims.all_subjects.saturating_sub(claims.subjects.len());
        html! {
            dl.facts {
                @if let Some(signer) = &claims.signer { (signed_by(signer)) }
                @if let Some(predicate_type) = &claims.predicate_type {
                    dt { "Predicate type" } dd { code { (foreign(predicate_type)) } }
                }
                @for (name, value) in &claims.facts { dt { (name) } dd { (foreign(value)) } }
                @if let Some(name) = &claims.signed_name { dt { "Image name" } dd { code { (foreign(name)) } } }
                @if !claims.subjects.is_empty() {
                    dt { "About" }
                    dd {
                        @for subject in &claims.subjects { div { (self.about(subject)) } }
                        @if others > 0 { div.quiet { "and " (others) " more, in the content" } }
                    }
                }
            }
            @if let Some(packages) = &claims.packages { (self.packages(packages)) }
        }
    }

    /// A digest in the content, and whether that is the subject's.
    fn about(&self, digest: &str) -> Markup {
        html! {
            code { (foreign(digest)) }
            @if let Some(subject) = self.subject {
                @if subject.as_str() == digest { span.quiet { " the subject" } } @else { span.bad { " not the subject that this artifact is linked to" } }
            }
        }
    }

    fn packages(&self, list: &PackageList) -> Markup {
        let shown = list.packages.len().min(self.packages);
        html! {
            h3 { "Packages" }
            p.quiet { (shown) " of " (list.total) " (" (foreign(&list.format)) ")" }
            @if shown > 0 {
                div.scroll {
                    table {
                        thead { tr { th scope="col" { "Package" } th scope="col" { "Version" } th scope="col" { "Licence" } } }
                        tbody {
                            @for package in list.packages.iter().take(shown) {
                                tr {
                                    th scope="row" { (foreign(&package.name)) }
                                    td { (foreign(&package.version)) }
                                    td { (foreign(&package.licence)) }
                                }
                            }
                        }
                    }
                }
            }
            @if shown < list.packages.len() {
                @if let Some(more) = &self.more { p { a href=(more) { "Show more packages" } } }
            } @else if shown < list.total {
                p.quiet { "The others are in the document: download it below." }
            }
        }
    }
}

fn signed_by(signer: &Signer) -> Markup {
    html! {
        @if let Some(identity) = &signer.identity { dt { "Identity" } dd { (foreign(identity)) } }
        @if let Some(issuer) = &signer.issuer { dt { "Issuer" } dd { (foreign(issuer)) } }
        @if let Some((from, to)) = signer.validity {
            dt { "Certificate" } dd { "from " (date_of_seconds(from)) " to " (date_of_seconds(to)) }
        }
        @if let Some(hint) = &signer.key_hint { dt { "Key hint" } dd { code { (foreign(hint)) } } }
        @if let Some(index) = signer.log_index {
            dt { "Log entry" }
            dd { (index) @if let Some(logged) = signer.logged { ", " (date_of_seconds(logged)) } }
        }
    }
}
