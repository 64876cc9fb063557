//! The page for errors.

use maud::html;

use super::frame;
use super::site::{Account, Site};
use super::text::foreign;

pub struct ErrorPage<'a> {
    pub site: &'a Site<'a>,
    pub title: &'a str,
    /// What happened, in refshim's or the registry's words.
    pub message: &'a str,
    /// What the user can do about it.
    pub advice: Option<&'a str>,
}

impl ErrorPage<'_> {
    pub fn print(&self) -> String {
        let content = html! {
            h1 { (self.title) }
            p.note.bad role="alert" { (foreign(self.message)) }
            @if let Some(advice) = self.advice {
                p { (advice) }
                @if let Account::LoggedOut { here } = &self.site.account {
                    p { a.button href=(self.site.address.login(here)) { "Log in" } }
                }
            }
            (frame::search(self.site, ""))
        };
        frame::page(self.site, self.title, &[], &content)
    }
}
