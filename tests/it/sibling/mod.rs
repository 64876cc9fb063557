//! Promise: with `links.repository`, what refers to an image is kept in the repository beside it, and found, read, written and deleted at the image's
//! own, by every client and API; the image's repository keeps the tags that its owner gave. A failure there is never "no referrers", who may only
//! pull does not sign, and nothing is read of the repository beside but what a link leads to.

mod absent;
mod client_stage;
mod clients;
mod deleting;
mod elsewhere;
mod moving;
mod reading;
mod registries;
mod replicas;
mod rights;
mod stage;
mod writing;
