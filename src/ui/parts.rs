//! The content of a manifest: config, layers and blobs, which can be downloaded.

use maud::{Markup, html};

use super::details::Details;
use super::text::{foreign, short, size};
use crate::oci::Descriptor;

/// The annotation with a part's file name.
const TITLE: &str = "org.opencontainers.image.title";

pub(super) fn print(details: &Details<'_>) -> Markup {
    let Some(manifest) = details.manifest else {
        return html! {};
    };
    let config = manifest.config.iter().map(|part| ("config", part));
    let layers = manifest.layers.iter().map(|part| ("layer", part));
    let blobs = manifest.blobs.iter().map(|part| ("blob", part));
    let total = manifest.layers.len() + manifest.blobs.len() + usize::from(manifest.config.is_some());
    html! {
        @if total > 0 {
            h2 { "Content" }
            div.scroll {
                table {
                    thead { tr { th scope="col" { "Part" } th scope="col" { "Media type" } th scope="col" { "Size" } th scope="col" { "Download" } } }
                    tbody {
                        @for (role, part) in config.chain(layers).chain(blobs).take(details.choice.shown) { (row(details, role, part)) }
                    }
                }
            }
            (details.shown_of(total))
        }
    }
}

fn row(details: &Details<'_>, role: &str, part: &Descriptor) -> Markup {
    let title = part
        .annotations
        .get(TITLE)
        .map(String::as_str)
        .filter(|title| !title.is_empty());
    let target = details
        .site
        .address
        .blob(details.repository, &part.digest, title.map(cut));
    html! {
        tr {
            th scope="row" { (role) }
            td { code { (foreign(&part.media_type)) } }
            td.number { (size(part.size)) }
            td { a href=(target) title=(part.digest) { @match title { Some(title) => (foreign(title)), None => code { (short(&part.digest)) } } } }
        }
    }
}

/// As much of a title as a file name needs.
fn cut(title: &str) -> &str {
    const LONGEST: usize = 100;
    title
        .char_indices()
        .nth(LONGEST)
        .map_or(title, |(end, _)| &title[..end])
}
