//! Pages for people: from what was found about a repository to HTML. Pure.
//!
//! Works without scripts. Whatever a registry says (annotations, media types, messages) is text, never markup and never a
//! link; addresses are made of names, tags and digests that were parsed.

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

/// The style sheet, which goes to [`Address::STYLE`].
pub const STYLE: &str = include_str!("style.css");
/// The icon (SVG), which goes to [`Address::ICON`].
pub const ICON: &str = include_str!("icon.svg");
/// What browsers must refuse, whatever a registry smuggles into a page: everything but the form and the files above.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
