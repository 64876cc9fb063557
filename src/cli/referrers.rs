//! `refshim referrers REF`: what refers to an image, and how that was written down.

use serde::Serialize;

use crate::oci::descriptor::Annotations;
use crate::oci::{Digest, LinkSource, Referrer, timestamp};

use super::error::CliError;
use super::output::{self, Format};
use super::session::{Options, Session};

/// List what refers to an image: signatures, attestations, SBOMs.
///
/// Asks the registry directly, with the credentials of 'docker login', and reads all dialects; the last column names those in which each
/// link was found.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  refshim referrers ghcr.io/sigstore/cosign/cosign:v2.4.1
  refshim referrers --artifact-type application/spdx+json 127.0.0.1:5000/app:v1
  refshim referrers --output json ghcr.io/o/app@sha256:… | jq -r '.referrers[].digest'")]
pub(super) struct ReferrersArgs {
    #[command(flatten)]
    options: Options,
    /// List only this artifact type; may be given more than once.
    #[arg(long, value_name = "TYPE")]
    artifact_type: Vec<String>,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReferrersReport<'a> {
    /// As it was asked for.
    reference: String,
    subject: &'a Digest,
    referrers: Vec<ReferrerRow<'a>>,
    /// How many there are without the filter.
    #[serde(skip)]
    total: usize,
}

/// One referrer, in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReferrerRow<'a> {
    pub(super) digest: &'a Digest,
    /// The manifest without `subject` that the registry has, where this is made of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) original: Option<&'a Digest>,
    media_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    size: u64,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    annotations: &'a Annotations,
    /// How the link was written down.
    #[serde(rename = "dialects")]
    sources: Vec<LinkSource>,
}

impl<'a> From<&'a Referrer> for ReferrerRow<'a> {
    fn from(referrer: &'a Referrer) -> Self {
        let descriptor = &referrer.descriptor;
        Self {
            digest: &descriptor.digest,
            original: referrer.adopted.as_ref().map(|original| &original.digest),
            media_type: &descriptor.media_type,
            artifact_type: descriptor.artifact_type.as_deref(),
            size: descriptor.size,
            created: referrer.created.and_then(timestamp::to_rfc3339),
            annotations: &descriptor.annotations,
            sources: referrer.sources.iter().copied().collect(),
        }
    }
}

impl ReferrerRow<'_> {
    /// The artifact type, or what comes closest.
    pub(super) fn kind(&self) -> &str {
        self.artifact_type.unwrap_or(self.media_type)
    }

    /// RFC 3339.
    pub(super) fn created(&self) -> Option<&str> {
        self.created.as_deref()
    }

    pub(super) fn sources(&self) -> String {
        let names: Vec<&str> = self.sources.iter().map(|source| source.as_str()).collect();
        names.join(", ")
    }

    pub(super) fn size(&self) -> String {
        crate::ui::size(self.size)
    }
}

/// Whether `referrer` is among the artifact types asked for; none asked for means all.
pub(super) fn is_wanted(referrer: &Referrer, artifact_types: &[String]) -> bool {
    let own = referrer.descriptor.artifact_type.as_deref().unwrap_or_default();
    artifact_types.is_empty() || artifact_types.iter().any(|wanted| wanted == own)
}

pub(super) async fn run(args: ReferrersArgs) -> Result<(), CliError> {
    let session = Session::open(args.options).await?;
    let subject = session.subject().await?;
    let links = session.referrers(&subject).await?;
    let wanted = links
        .referrers
        .iter()
        .filter(|referrer| is_wanted(referrer, &args.artifact_type));
    let listing = ReferrersReport {
        reference: session.target().to_string(),
        subject: &subject,
        referrers: wanted.map(ReferrerRow::from).collect(),
        total: links.referrers.len(),
    };
    match args.output {
        Format::Json => output::print_json(&listing),
        Format::Table => output::print(&table(&listing)),
    }
}

fn table(listing: &ReferrersReport<'_>) -> String {
    let count = listing.referrers.len();
    let noun = if listing.total == 1 { "referrer" } else { "referrers" };
    let counted = match listing.total {
        total if total == count => format!("{total} {noun}"),
        total => format!("{count} of {total} {noun} after the filter"),
    };
    let mut text = format!("{} ({}): {counted}\n", listing.reference, listing.subject);
    if count > 0 {
        let rows: Vec<[String; 5]> = listing.referrers.iter().map(row).collect();
        text.push('\n');
        text.push_str(&output::table(
            ["DIGEST", "ARTIFACT TYPE", "SIZE", "CREATED", "FOUND AS"],
            &rows,
        ));
    }
    text
}

fn row(entry: &ReferrerRow<'_>) -> [String; 5] {
    [
        entry.digest.to_string(),
        entry.kind().to_owned(),
        entry.size(),
        entry.created().unwrap_or("-").to_owned(),
        entry.sources(),
    ]
}
