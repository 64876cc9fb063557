//! The frame of all pages: header, footer and the path from the home page.

use maud::{DOCTYPE, Markup, html};

use super::address::Address;

/// A step on the path from the home page: its name and its address.
pub(super) type Breadcrumb = (String, String);

pub(super) fn page(address: &Address, title: &str, steps: &[Breadcrumb], content: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – refshim" }
                link rel="stylesheet" href=(Address::STYLE);
                link rel="icon" href=(Address::ICON) type="image/svg+xml";
            }
            body {
                a.skip href="#content" { "Skip to content" }
                header {
                    nav aria-label="Breadcrumb" {
                        ol {
                            li { a.brand href=(address.home()) { "refshim" } }
                            @for (name, target) in steps {
                                li { a href=(target) { (name) } }
                            }
                        }
                    }
                }
                main #content tabindex="-1" { (content) }
                footer {
                    p {
                        "refshim lists what refers to an image and verifies none of it: check signatures with the tool that made them, \
                         such as cosign or notation."
                    }
                }
            }
        }
    };
    page.into_string()
}

/// The input field for a repository name.
pub(super) fn search(address: &Address, value: &str) -> Markup {
    html! {
        form.search action=(Address::HOME) method="get" role="search" {
            label for="repository" { "Repository" }
            div {
                input #repository type="text" name="repository" value=(value) required autocomplete="off" autocapitalize="none"
                    spellcheck="false" placeholder="org/app or org/app:tag" maxlength="400";
                @if let Some(namespace) = &address.namespace {
                    input type="hidden" name="ns" value=(namespace);
                }
                button type="submit" { "Show" }
            }
        }
    }
}
