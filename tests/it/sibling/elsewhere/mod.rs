//! The same where the links are in another registry (`links.upstream`): callers' credentials never go there, and what it does not say is not said.

mod none;
mod reading;
mod stage;
mod writing;
