//! The page for errors.

use maud::html;

use super::address::Address;
use super::frame;
use super::text::foreign;

pub struct ErrorPage<'a> {
    pub address: &'a Address,
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
            }
            (frame::search(self.address, ""))
        };
        frame::page(self.address, self.title, &[], &content)
    }
}
