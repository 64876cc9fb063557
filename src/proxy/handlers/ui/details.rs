//! One manifest: what it is, what it says, and the tree of what refers to it.

use std::collections::BTreeMap;

use http::Response;

use super::artifact::{claims_of, config_of, platforms_of, role_of};
use super::html::html;
use super::walk::walk;
use crate::http::body::Body;
use crate::oci::media_type::ManifestKind;
use crate::oci::{Digest, Reference, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::handlers::subject_lookup;
use crate::proxy::upstream_view::UpstreamView;
use crate::render::Query;
use crate::ui::{ClientAddress, DetailChoice, Details, FIRST_SHOWN, KindFilter, MOST_SHOWN, Site, platform_names};

/// Questions of one page that are asked at once.
pub(super) const AT_ONCE: usize = 8;

pub(super) async fn show_details(
    context: &RequestContext<'_>,
    site: &Site<'_>,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, ProxyError> {
    let caller = context.caller();
    let choice = choice(context);
    let raw = subject_lookup::manifest(context, repository, reference, &caller).await?;
    let manifest = raw.parse().ok();
    let listed = manifest.iter().flat_map(|manifest| &manifest.manifests);
    let listed = listed.filter(|one| ManifestKind::of(&one.media_type).is_some());
    let mut tops = vec![raw.digest.clone()];
    tops.extend(listed.take(choice.shown).map(|one| one.digest.clone()));
    let below = walk(context, repository, tops, (choice.shown, &caller)).await?;
    let own = (&raw.digest, manifest.as_ref());
    let role = role_of(context, repository, own, (choice.subject.as_ref(), &caller)).await;
    let (mut config, mut claims, mut platforms) = (None, Vec::new(), BTreeMap::new());
    if let Some(manifest) = &manifest {
        platforms = platforms_of(context, repository, (manifest, choice.shown), &caller).await?;
        match role.kind {
            Some(_) => claims = claims_of(context, repository, manifest).await,
            None => config = config_of(context, repository, manifest).await,
        }
    }
    let is_index = manifest.as_ref().is_some_and(|manifest| !manifest.manifests.is_empty());
    let client = client_address(context);
    let page = Details {
        site,
        repository,
        reference,
        choice: &choice,
        digest: &raw.digest,
        media_type: &raw.media_type,
        size: raw.bytes.len() as u64,
        manifest: manifest.as_ref(),
        kind: role.kind,
        subject: role.subject.as_ref(),
        config: config.as_ref(),
        platform_names: &if is_index {
            platform_names(&raw.bytes)
        } else {
            BTreeMap::new()
        },
        platforms: &platforms,
        claims: &claims,
        below: &below,
        client: client.as_ref(),
    };
    Ok(html(page.print(), &context.head))
}

fn choice(context: &RequestContext<'_>) -> DetailChoice {
    let query = Query::parse(context.head.uri.query());
    let shown = query.first("show").and_then(|shown| shown.parse().ok());
    DetailChoice {
        shown: shown.unwrap_or(FIRST_SHOWN).clamp(1, MOST_SHOWN),
        kind: KindFilter::parse(query.first("kind").unwrap_or_default()),
        subject: query.first("of").and_then(|digest| Digest::parse(digest).ok()),
    }
}

/// How clients reach this upstream: as the browser did, or where only a parameter led there, which clients cannot send, by the upstream's
/// prefix, else without refshim.
fn client_address(context: &RequestContext<'_>) -> Option<ClientAddress> {
    let upstream = context.backend.upstream.url();
    let registries = &context.backend.shared.registries;
    let prefix = match &context.view {
        UpstreamView::Plain => None,
        UpstreamView::Prefix { prefix, .. } => Some(prefix.clone()),
        UpstreamView::Namespace(namespace) => {
            let known = registries.iter().find(|registry| registry.names.contains(namespace));
            match known.and_then(|registry| registry.link.prefix.clone()) {
                Some(prefix) => Some(prefix),
                None => return ClientAddress::new(upstream.authority(), None, upstream.scheme() == "http"),
            }
        }
    };
    let origin = context.origin()?;
    let plain_http = origin.starts_with("http://");
    let host = origin.split_once("://").map(|(_, host)| host)?;
    ClientAddress::new(host, prefix.as_deref(), plain_http)
}
