//! Prints a sorted list of referrers ([`crate::oci::ReferrerList`]) in the form of each referrers API.
//!
//! This module does no I/O and uses `oci` only, which *reads* links.
//!
//! | module | prints |
//! |---|---|
//! | [`oci11`] | OCI 1.1 (Proposal E): an image index, filtered and paged |
//! | [`proposal_a`] | Proposal A and its ORAS forms: `{"referrers": […]}`, filtered and paged |
//! | [`proposal_b`] | Proposal B: an image index of everything |
//! | [`proposal_c`] | Proposal C: `referrers`, `reference`, `objects`, `description` |
//! | [`discover`] | extension discovery, merged with the upstream's own |
//!
//! A paged answer is made in four steps: [`query::Query::parse`], [`filter::Filter::from_query`],
//! [`page::Window::from_query`] (refuses a bad `n` and foreign page tokens), and the format's `print`, whose
//! [`page::RenderedPage`] says with [`page::RenderedPage::next`] what to put into [`next_link::next_link`].

pub mod discover;
mod entry;
pub mod filter;
pub mod next_link;
pub mod oci11;
pub mod page;
pub mod proposal_a;
pub mod proposal_b;
pub mod proposal_c;
pub mod query;

pub use filter::Filter;
pub use next_link::next_link;
pub use page::{RenderedPage, Window};
pub use query::{Query, QueryError};
