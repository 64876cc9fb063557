//! The home page.

use maud::html;

use super::address::Address;
use super::frame;
use crate::oci::RepositoryName;

pub struct Home<'a> {
    pub address: &'a Address,
    /// The registry's host.
    pub registry: &'a str,
    /// The first repositories in the registry's catalog for this caller; `None` if the registry gives none.
    pub repositories: Option<Vec<RepositoryName>>,
    /// What the user typed, if it is not a repository name.
    pub mistyped: Option<&'a str>,
}

impl Home<'_> {
    pub fn print(&self) -> String {
        let typed = self.mistyped.unwrap_or_default();
        let content = html! {
            h1 { "Signatures, attestations, SBOMs" }
            p.lead { "What refers to the images of " code { (self.registry) } "." }
            @if self.mistyped.is_some() {
                p.note.bad role="alert" { "That is not the name of a repository, with or without a tag or a digest." }
            }
            (frame::search(self.address, typed))
            @match &self.repositories {
                Some(names) if names.is_empty() => p { "The registry has no repositories yet." },
                Some(names) => {
                    h2 { "Repositories" }
                    ul.repositories {
                        @for name in names {
                            li { a href=(self.address.tags(name, "", None)) { (self.address.name(name)) } }
                        }
                    }
                },
                None => p.quiet { "This registry does not list its repositories: type the name of one." },
            }
        };
        frame::page(self.address, "Repositories", &[], &content)
    }
}
