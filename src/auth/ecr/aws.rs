//! The one call of the AWS SDK, and what it needs.

use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_ecr::Client;
use aws_sdk_ecr::config::Builder;
use aws_sdk_ecr::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ecr::operation::get_authorization_token::GetAuthorizationTokenError;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::OnceCell;

use super::refreshing::ExpiringCredentials;
use crate::auth::{Credentials, CredentialsError, EcrOptions, EcrProxy};

/// How long a password lasts when the answer does not say: what ECR's documentation promises.
const DEFAULT_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

pub(super) struct EcrApi {
    options: EcrOptions,
    client: OnceCell<Client>,
}

impl EcrApi {
    pub fn new(options: EcrOptions) -> Self {
        Self {
            options,
            client: OnceCell::new(),
        }
    }

    /// `GetAuthorizationToken`
    pub async fn token(&self) -> Result<ExpiringCredentials, CredentialsError> {
        let client = self.client.get_or_init(|| client(&self.options)).await;
        let answer = client.get_authorization_token().send().await;
        let answer = answer.map_err(|error| CredentialsError::Ecr(reason(&error)))?;
        let data = answer.authorization_data().first();
        let unusable = || CredentialsError::Ecr("the answer holds no token".to_owned());
        let data = data.ok_or_else(unusable)?;
        let lives = data.expires_at().map_or(DEFAULT_LIFE, |end| left(end.secs()));
        let credentials = data.authorization_token().and_then(parse).ok_or_else(unusable)?;
        Ok(ExpiringCredentials { credentials, lives })
    }
}

/// The SDK's client. Credentials for AWS come from where the SDK looks for them: environment, profile, web identity, container, instance.
async fn client(options: &EcrOptions) -> Client {
    let proxy = proxy_config(options.proxy.as_ref());
    let http = aws_smithy_http_client::Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().proxy_config(proxy.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
    });
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http);
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    let mut config = Builder::from(&loader.load().await);
    if let Some(endpoint) = &options.endpoint {
        config = config.endpoint_url(endpoint);
    }
    Client::from_conf(config.build())
}

/// For what is reached by TLS: the cloud's metadata service, which is not, is on this machine's own network.
fn proxy_config(proxy: Option<&EcrProxy>) -> ProxyConfig {
    // The configuration has checked the URL.
    let config = proxy.and_then(|proxy| Some((ProxyConfig::https(proxy.url.as_str()).ok()?, &proxy.no_proxy)));
    match config {
        Some((config, no_proxy)) => config.no_proxy(no_proxy),
        None => ProxyConfig::disabled(),
    }
}

/// How long it is until `end`, in seconds since 1970.
fn left(end: i64) -> Duration {
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(end.try_into().unwrap_or(0));
    end.duration_since(SystemTime::now()).unwrap_or_default()
}

/// `user:password` in base64.
fn parse(token: &str) -> Option<Credentials> {
    let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(Credentials::Password {
        user: user.to_owned(),
        password: password.to_owned(),
    })
}

/// The error in one line, without the request and the response.
fn reason(error: &SdkError<GetAuthorizationTokenError>) -> String {
    if let (Some(code), message) = (error.code(), error.message()) {
        return match message {
            Some(message) => format!("{code}: {message}"),
            None => code.to_owned(),
        };
    }
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_user_and_a_password() {
        let expected = Credentials::Password {
            user: "AWS".to_owned(),
            password: "a:b".to_owned(),
        };
        assert_eq!(parse(&STANDARD.encode("AWS:a:b")), Some(expected));
        for wrong in ["", "AWS:x", &STANDARD.encode("AWS")] {
            assert_eq!(parse(wrong), None);
        }
    }

    #[test]
    fn what_has_ended_lasts_no_longer() {
        assert_eq!(left(-1), Duration::ZERO);
        assert_eq!(left(1), Duration::ZERO);
        assert!(left(i64::from(u32::MAX)) > DEFAULT_LIFE);
    }
}
