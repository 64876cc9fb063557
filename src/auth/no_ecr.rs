//! In place of `ecr` in builds without the AWS SDK. The configuration refuses `kind = "ecr"` there, so nobody comes this far.

use super::{Credentials, CredentialsError, EcrOptions};

pub struct Ecr;

impl Ecr {
    pub fn new(_: EcrOptions) -> Self {
        Self
    }

    pub async fn get(&self) -> Result<Option<Credentials>, CredentialsError> {
        Err(CredentialsError::Ecr("this refshim was built without it".to_owned()))
    }

    pub fn forget(&self) {}
}
