//! What all pages of one request have in common.

use super::address::Address;

/// The registry that pages are about, and who looks at them.
#[derive(Clone, Debug)]
pub struct Site<'a> {
    pub address: &'a Address,
    pub account: Account,
    /// All registries, where there are several.
    pub registries: &'a [RegistryLink],
}

/// On whose rights a page is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// Nobody can log in: refshim has credentials of its own, or the browser sends some.
    Fixed,
    LoggedOut {
        /// Where the login leads back to, without what selects the upstream.
        here: String,
    },
    LoggedIn {
        user: String,
    },
}

/// One of several registries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryLink {
    /// Its host.
    pub host: String,
    /// The value of the `ns` parameter that leads to it.
    pub namespace: String,
    /// What leads to it in front of a repository's name, for clients.
    pub prefix: Option<String>,
}
