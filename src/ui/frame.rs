//! The frame of all pages: header, footer and the path from the home page.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::address::Address;
use super::policy::SCRIPT;
use super::site::{Account, Site};
use super::text::foreign;

/// A step on the path from the home page: its name and its address.
pub(super) type Breadcrumb = (String, String);

pub(super) fn page(site: &Site<'_>, title: &str, steps: &[Breadcrumb], content: &Markup) -> String {
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
                            li { a.brand href=(site.address.home(&[])) { "refshim" } }
                            @for (name, target) in steps {
                                li { a href=(target) { (name) } }
                            }
                        }
                    }
                    (account(site))
                }
                main #content tabindex="-1" { (content) }
                footer {
                    p {
                        "refshim lists what refers to an image and verifies none of it: check signatures with the tool that made them, \
                         such as cosign or notation."
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn account(site: &Site<'_>) -> Markup {
    html! {
        @match &site.account {
            Account::Fixed => {},
            Account::LoggedOut { here } => p.account { a href=(site.address.login(here)) { "Log in" } },
            Account::LoggedIn { user } => form.account method="post" action=(site.address.logout()) {
                span { (foreign(user)) }
                button.plain type="submit" { "Log out" }
            },
        }
    }
}

/// The input field for a reference, or a part of one.
pub(super) fn search(site: &Site<'_>, value: &str) -> Markup {
    html! {
        form.search action=(Address::HOME) method="get" role="search" {
            label for="repository" { "Image, repository, or part of its name" }
            div {
                input #repository type="text" name="repository" value=(value) required autocomplete="off" autocapitalize="none"
                    spellcheck="false" placeholder="org/app or org/app:tag" maxlength="400";
                @if let Some(namespace) = &site.address.namespace {
                    input type="hidden" name="ns" value=(namespace);
                }
                button type="submit" { "Show" }
            }
        }
    }
}
