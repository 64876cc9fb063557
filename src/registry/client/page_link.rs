//! Where the `Link` of a page leads, be it of tags or of the referrers API.

use http::Uri;

use super::Upstream;
use crate::registry::error::UpstreamError;
use crate::registry::origin::resolve;

impl Upstream {
    /// Where a page's `Link` leads. Pages of the upstream link to the upstream; those of a host that it redirects to, which
    /// get no credentials, to that host.
    pub(super) fn page_link(&self, from: &Uri, link: &str) -> Result<Uri, UpstreamError> {
        if self.origin().holds(from) {
            return self.own_link(from, link);
        }
        let stays = |target: &Uri| {
            let port = |uri: &Uri| uri.port_u16();
            target.scheme() == from.scheme() && target.host() == from.host() && port(target) == port(from)
        };
        let target = resolve(from, link).filter(stays);
        target.ok_or_else(|| UpstreamError::Invalid("a Link from a page elsewhere to yet another host".into()))
    }

    /// A link must lead to the upstream itself: credentials go with it. Artifactory and Nexus write paths of their inside; what
    /// tells a page from the next is the query.
    fn own_link(&self, asked: &Uri, link: &str) -> Result<Uri, UpstreamError> {
        let target = resolve(asked, link).and_then(|target| self.origin().own(&target));
        let next = match target {
            Some(target) if !self.origin().is_api(&target) => {
                self.origin().same_path(asked, target.query().unwrap_or_default())
            }
            target => target,
        };
        next.ok_or_else(|| UpstreamError::Invalid("a Link to somewhere else".into()))
    }
}
