//! Amazon ECR's password, which lasts twelve hours, by way of the AWS SDK.

mod aws;
mod refreshing;

use std::sync::Arc;

use super::{Credentials, CredentialsError, EcrOptions};
use aws::EcrApi;
use refreshing::RefreshingCredentials;

/// The password of one account's registry in one region.
pub struct Ecr {
    refreshing: Arc<RefreshingCredentials>,
}

impl Ecr {
    /// Asks the API only when [`Ecr::get`] is called.
    pub fn new(options: EcrOptions) -> Self {
        let api = Arc::new(EcrApi::new(options));
        let refreshing = RefreshingCredentials::new(move || {
            let api = api.clone();
            Box::pin(async move { api.token().await })
        });
        Self {
            refreshing: Arc::new(refreshing),
        }
    }

    /// The password as it is now.
    pub async fn get(&self) -> Result<Option<Credentials>, CredentialsError> {
        self.refreshing.get().await.map(Some)
    }

    /// Says that the registry refused the password.
    pub fn forget(&self) {
        self.refreshing.forget();
    }
}
