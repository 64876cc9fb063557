//! Name resolution under a redirect policy.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

use super::body::BoxError;
use super::redirect_policy::RedirectPolicy;

/// A step on the way to a connection.
pub(super) type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// The system's resolver, with checks of the addresses: a public name may resolve to an internal one.
#[derive(Clone)]
pub(crate) struct PolicyResolver {
    pub(super) system: GaiResolver,
    pub(super) policy: Option<Arc<RedirectPolicy>>,
}

impl Service<Name> for PolicyResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.system.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let policy = self.policy.clone();
        let resolving = self.system.call(name.clone());
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = resolving.await?.collect();
            if let Some(policy) = policy {
                for address in &addresses {
                    policy.check_address(name.as_str(), address.ip())?;
                }
            }
            Ok(addresses.into_iter())
        })
    }
}
