//! The forms to log in and out.

use maud::html;

use super::frame;
use super::site::Site;

pub struct LoginForm<'a> {
    pub site: &'a Site<'a>,
    /// The registry's host, which gets the password.
    pub registry: &'a str,
    /// Where the login leads, without what selects the upstream.
    pub target: &'a str,
    /// Why the last attempt failed.
    pub problem: Option<&'a str>,
    /// Whether the password goes to refshim in clear text, as far as refshim can tell.
    pub in_clear: bool,
}

impl LoginForm<'_> {
    pub fn print(&self) -> String {
        let content = html! {
            h1 { "Log in to " code { (self.registry) } }
            p.lead { "With what you would give to " code { "docker login" } ": a user name, and a password or an access token that may read packages." }
            @if let Some(problem) = self.problem {
                p.note.bad role="alert" { (problem) }
            }
            @if self.in_clear {
                p.note.bad { "This page came without TLS: whoever can listen between you and refshim can read what you type here." }
            }
            form.login method="post" action=(self.site.address.login(self.target)) {
                label for="user" { "User" }
                div { input #user type="text" name="user" required autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="256"; }
                label for="password" { "Password or token" }
                div { input #password type="password" name="password" required autocomplete="current-password" maxlength="8192"; }
                button type="submit" { "Log in" }
            }
            p.quiet {
                "refshim keeps them in its memory until you log out or have not used it for an hour, for at most eight hours, and shows them to this \
                 registry and its token endpoint only. You see what this account may see there. The browser gets a cookie that is of use to this process alone."
            }
        };
        frame::page(self.site, "Log in", &[], &content)
    }
}

pub struct LogoutForm<'a> {
    pub site: &'a Site<'a>,
}

impl LogoutForm<'_> {
    pub fn print(&self) -> String {
        let content = html! {
            h1 { "Log out" }
            form method="post" action=(self.site.address.logout()) { button type="submit" { "Log out" } }
        };
        frame::page(self.site, "Log out", &[], &content)
    }
}
