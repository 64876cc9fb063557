//! Amazon ECR's password, which lasts twelve hours, by way of the AWS SDK.

mod aws;
mod keeper;

use std::sync::Arc;

use super::{Credentials, CredentialsError, EcrOptions};
use aws::Api;
use keeper::Keeper;

/// The password of one account's registry in one region.
pub struct Ecr {
    keeper: Arc<Keeper>,
}

impl Ecr {
    /// Asks nobody yet.
    pub fn new(options: EcrOptions) -> Self {
        let api = Arc::new(Api::new(options));
        let keeper = Keeper::new(move || {
            let api = api.clone();
            Box::pin(async move { api.token().await })
        });
        Self {
            keeper: Arc::new(keeper),
        }
    }

    pub async fn get(&self) -> Result<Option<Credentials>, CredentialsError> {
        self.keeper.get().await.map(Some)
    }

    /// The registry refused it.
    pub fn forget(&self) {
        self.keeper.forget();
    }
}
