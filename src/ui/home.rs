//! The home page.

use maud::{Markup, html};

use super::frame;
use super::site::Site;
use crate::oci::{Reference, RepositoryName};

pub struct Home<'a> {
    pub site: &'a Site<'a>,
    /// The registry's host.
    pub registry: &'a str,
    pub repositories: HomeList,
    /// What the user typed, if it is not a reference.
    pub mistyped: Option<&'a str>,
}

/// The repositories that a home page shows.
pub enum HomeList {
    /// The registry does not list its repositories.
    Unlisted,
    /// A page of the registry's catalog.
    Catalog {
        names: Vec<RepositoryName>,
        /// The name after which the catalog goes on.
        next: Option<String>,
        /// Whether this is not the first page.
        continued: bool,
    },
    /// Those whose name contains what the user typed.
    Found {
        typed: String,
        names: Vec<RepositoryName>,
        /// What the user typed behind the name.
        reference: Option<Reference>,
        /// Number of repositories that were looked at, if that is not all.
        partial: Option<usize>,
    },
}

impl Home<'_> {
    pub fn print(&self) -> String {
        let typed = match &self.repositories {
            HomeList::Found { typed, .. } => typed,
            _ => self.mistyped.unwrap_or_default(),
        };
        let content = html! {
            h1 { "Signatures, attestations, SBOMs" }
            p.lead { "What refers to the images of " code { (self.registry) } "." }
            @if self.mistyped.is_some() {
                p.note.bad role="alert" { "That is not the name of an image or a repository. A digest alone does not say where it is: write the repository in front of it." }
            }
            (frame::search(self.site, typed))
            (self.list())
            (self.registries())
        };
        frame::page(self.site, "Repositories", &[], &content)
    }

    fn list(&self) -> Markup {
        html! {
            @match &self.repositories {
                HomeList::Unlisted => p.quiet { "This registry does not list its repositories: type the name of one." },
                HomeList::Catalog { names, next: None, continued: false } if names.is_empty() => {
                    p { "The registry has no repositories yet, or shows you none." }
                },
                HomeList::Catalog { names, next, continued } => {
                    h2 { "Repositories" }
                    (self.links(names, None))
                    @if *continued || next.is_some() {
                        nav.pages aria-label="Pages" {
                            @if *continued { a href=(self.site.address.home(&[])) { "First repositories" } }
                            @if let Some(next) = next {
                                a rel="next" href=(self.site.address.home(&[("after", next)])) { "More repositories" }
                            }
                        }
                    }
                },
                HomeList::Found { typed, names, reference, partial } => {
                    h2 { "Repositories with “" (typed) "” in their name" }
                    @if names.is_empty() { p { "None." } }
                    (self.links(names, reference.as_ref()))
                    @if let Some(partial) = partial {
                        p.note { "Only the first " (partial) " repositories of the registry were searched. Type the whole name to open another." }
                    }
                },
            }
        }
    }

    fn links(&self, names: &[RepositoryName], reference: Option<&Reference>) -> Markup {
        let address = self.site.address;
        html! {
            ul.repositories {
                @for name in names {
                    @let target = match reference {
                        Some(reference) => address.details(name, reference, &[]),
                        None => address.tags(name, &[]),
                    };
                    li { a href=(target) { (address.name(name)) } }
                }
            }
        }
    }

    fn registries(&self) -> Markup {
        html! {
            @if self.site.registries.len() > 1 {
                h2 { "Registries" }
                ul.repositories {
                    @for registry in self.site.registries {
                        @let target = super::Address { prefix: None, namespace: Some(registry.namespace.clone()) };
                        li { a href=(target.home(&[])) { (registry.namespace) } @if registry.namespace != registry.host { span.quiet { " (" (registry.host) ")" } } }
                    }
                }
            }
        }
    }
}
