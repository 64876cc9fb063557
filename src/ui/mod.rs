//! The web pages: renders data about a repository as HTML. It does no I/O.
//!
//! The pages work without scripts; the only one adds buttons that copy. Everything from a registry (annotations, media types, messages, the
//! content of signatures and SBOMs) is rendered as text, never as markup or a link; addresses are built from parsed names, tags and digests
//! only.

mod address;
mod badge;
mod badge_filter;
mod claims;
mod commands;
mod contents;
mod details;
mod error_page;
mod frame;
mod home;
mod login;
mod parts;
mod platforms;
mod policy;
mod referrer_tree;
mod site;
mod tags;
mod text;
mod version_order;

pub use address::Address;
pub use badge::{Badge, predicate_type};
pub use badge_filter::KindFilter;
pub use claims::PartClaims;
pub use commands::ClientAddress;
pub use contents::{
    ArtifactClaims, ContentFormat, ImageConfig, MAX_CONTENT, logged_at, platform_names, read_claims, readable_parts,
};
pub use details::{DetailChoice, Details, FIRST_SHOWN, MOST_SHOWN};
pub use error_page::ErrorPage;
pub use home::{Home, HomeList};
pub use login::{LoginForm, LogoutForm};
pub use platforms::PlatformImage;
pub use policy::CONTENT_SECURITY_POLICY;
pub use referrer_tree::ReferrerTree;
pub use site::{Account, RegistryLink, Site};
pub use tags::{NEWEST_FIRST, Row, TagChoice, TagPage, TagSummary};
pub use text::size;
pub use version_order::VersionKey;

/// The style sheet, served at [`Address::STYLE`].
pub const STYLE: &str = include_str!("style.css");
/// The icon (SVG), served at [`Address::ICON`].
pub const ICON: &str = include_str!("icon.svg");
