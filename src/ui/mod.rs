//! The web pages: renders data about a repository as HTML. It does no I/O.
//!
//! The pages use no scripts. Everything from a registry (annotations, media types, messages) is rendered as text, never as markup or a link;
//! addresses are built from parsed names, tags and digests only.

mod address;
mod badge;
mod details;
mod error_page;
mod frame;
mod home;
mod tags;
mod text;

pub use address::Address;
pub use badge::Badge;
pub use details::{Details, ReferrerTree};
pub use error_page::ErrorPage;
pub use home::Home;
pub use tags::{Row, TagPage, TagSummary};
pub use text::size;

/// The style sheet, served at [`Address::STYLE`].
pub const STYLE: &str = include_str!("style.css");
/// The icon (SVG), served at [`Address::ICON`].
pub const ICON: &str = include_str!("icon.svg");
/// The content security policy: browsers load nothing but the files above and submit nothing but the form, whatever markup might get into a
/// page.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
