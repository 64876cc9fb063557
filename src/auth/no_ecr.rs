//! Stands in for `ecr` in builds without the AWS SDK, whose configuration refuses `kind = "ecr"` before this is reached.

use super::{Credentials, CredentialsError, EcrOptions};

pub struct Ecr;

impl Ecr {
    pub fn new(_: EcrOptions) -> Self {
        Self
    }

    pub async fn get(&self) -> Result<Option<Credentials>, CredentialsError> {
        Err(CredentialsError::Ecr(
            "this refshim was built without the feature 'ecr'".to_owned(),
        ))
    }

    pub fn forget(&self) {}
}
