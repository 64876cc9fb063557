//! Promise: refshim brings ECR's token on whatever AWS credentials its process has, fetches it once, and tells nobody.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "it/support/mod.rs"]
mod support;

use std::process::Command;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use support::{EgressProxy, Program, Refshim, Registry, Service, TlsLink, certificate, eventually};

const PASSWORD: &str = "ecrs-password";
const SECRET_KEY: &str = "the-secret-access-key";
const WEB_TOKEN: &str = "a-pods-projected-token";
const SESSION: &str = "a-session-token";

/// ECR, STS and a container's metadata service at one address.
async fn aws() -> Service {
    Service::start(answer).await
}

fn answer(request: &Request<Bytes>) -> Response<Bytes> {
    let target = request
        .headers()
        .get("x-amz-target")
        .map(|value| value.to_str().unwrap());
    let form = String::from_utf8_lossy(request.body());
    let text = match (target, request.uri().path()) {
        (Some("AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"), _) => {
            let token = STANDARD.encode(format!("AWS:{PASSWORD}"));
            let end = SystemTime::now() + Duration::from_secs(12 * 60 * 60);
            let end = end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
            format!(
                r#"{{"authorizationData":[{{"authorizationToken":"{token}","expiresAt":{end},"proxyEndpoint":"x"}}]}}"#
            )
        }
        (None, "/container") => credentials_json("CONTAINERKEY"),
        (None, _) if form.contains("Action=AssumeRoleWithWebIdentity") => {
            assert!(form.contains(WEB_TOKEN) && form.contains("role%2Frefshim"), "{form}");
            format!(
                "<AssumeRoleWithWebIdentityResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'>\
                 <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASSUMEDKEY</AccessKeyId>\
                 <SecretAccessKey>{SECRET_KEY}</SecretAccessKey><SessionToken>{SESSION}</SessionToken>\
                 <Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
                 </AssumeRoleWithWebIdentityResponse>"
            )
        }
        _ => return Response::builder().status(404).body(Bytes::new()).unwrap(),
    };
    Response::new(text.into())
}

fn credentials_json(key: &str) -> String {
    format!(
        r#"{{"AccessKeyId":"{key}","SecretAccessKey":"{SECRET_KEY}","Token":"{SESSION}","Expiration":"2999-01-01T00:00:00Z"}}"#
    )
}

/// The signatures of requests for ECR's token.
fn signatures(aws: &Service) -> Vec<String> {
    let requests = aws.requests();
    let asked = requests
        .iter()
        .filter(|request| request.headers().contains_key("x-amz-target"));
    asked
        .map(|request| request.headers()["authorization"].to_str().unwrap().to_owned())
        .collect()
}

fn config(registry: &str, aws: &Service) -> String {
    format!(
        "[[upstream]]\nurl = '{registry}'\n[upstream.credentials]\nkind = 'ecr'\nregion = 'eu-west-1'\nendpoint = '{}'\n",
        aws.url()
    )
}

/// Where nothing of the developer's own is found.
const NOWHERE: [(&str, &str); 3] = [
    ("AWS_EC2_METADATA_DISABLED", "true"),
    ("AWS_CONFIG_FILE", "/nonexistent"),
    ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent"),
];

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "ENVKEY"), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];

/// Where only a proxy reaches AWS.
#[tokio::test]
async fn the_token_is_fetched_through_the_proxy() {
    let (registry, aws, folder) = (guarded().await, aws().await, tempfile::tempdir().unwrap());
    certificate::make_own(folder.path(), 2, "DNS:ecr.test");
    let link = TlsLink::in_front_of(aws.url().trim_start_matches("http://"), folder.path()).await;
    let proxy = EgressProxy::of_user(&[("ecr.test:443", link.authority())], "alice", "hush").await;
    let config = config(&registry.url(), &aws).replace(aws.url(), "https://ecr.test");
    let authorities = folder.path().join("cert.pem").display().to_string();
    let url = proxy.url_for("alice", "hush");
    let variables = [("SSL_CERT_FILE", authorities.as_str()), ("HTTPS_PROXY", &url)];
    let builder = Refshim::bare().config(&config).env("REFSHIM_LOG__LEVEL", "trace");
    let variables = NOWHERE.iter().chain(&KEYS).chain(&variables);
    let builder = variables.fold(builder, |builder, (name, value)| builder.env(name, value));
    let refshim = builder.start().await;
    refshim.endpoint().get("/v2/").await.expect_status(200);
    let asked = proxy.take();
    assert!(asked.iter().all(|line| line == "CONNECT ecr.test:443"), "{asked:?}");
    assert!(!asked.is_empty() && !refshim.output().contains("hush"));
}

async fn start(registry: &Registry, aws: &Service, environment: &[(&str, &str)]) -> Refshim {
    let builder = Refshim::bare()
        .config(&config(&registry.url(), aws))
        .env("REFSHIM_LOG__LEVEL", "trace");
    let variables = NOWHERE.iter().chain(environment);
    let builder = variables.fold(builder, |builder, (name, value)| builder.env(name, value));
    builder.start().await
}

async fn guarded() -> Registry {
    Registry::builder(Program::V2).users(&[("AWS", PASSWORD)]).start().await
}

#[tokio::test]
async fn one_token_serves_all_callers_and_no_log_has_it() {
    let (registry, aws) = (guarded().await, aws().await);
    let proxy = start(&registry, &aws, &KEYS).await;
    let ping = || async { proxy.endpoint().get("/v2/").await.expect_status(200) };
    futures_util::future::join_all((0..8).map(|_| ping())).await;
    let image = proxy.endpoint().push_image("app", "v1", "one").await;
    let artifact = proxy
        .endpoint()
        .push_artifact("app", &image, "application/x", "r")
        .await;
    assert_eq!(
        proxy.endpoint().referrer_digests("app", &image.digest).await,
        [artifact.digest]
    );
    let signatures = signatures(&aws);
    assert_eq!(signatures.len(), 1, "{signatures:?}");
    assert!(signatures[0].contains("Credential=ENVKEY/"), "{signatures:?}");
    assert!(signatures[0].contains("/eu-west-1/ecr/aws4_request"), "{signatures:?}");
    let log = eventually("all is logged", async || {
        let log = proxy.output();
        log.contains("/referrers/").then_some(log)
    })
    .await;
    let encoded = STANDARD.encode(format!("AWS:{PASSWORD}"));
    for secret in [PASSWORD, SECRET_KEY, encoded.as_str()] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

#[tokio::test]
async fn a_pod_s_identity_is_enough() {
    let (registry, aws) = (guarded().await, aws().await);
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, WEB_TOKEN).unwrap();
    let container = format!("{}/container", aws.url());
    for (environment, key) in [
        // IRSA.
        (
            vec![
                ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
                ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/refshim"),
                ("AWS_ENDPOINT_URL_STS", aws.url()),
            ],
            "ASSUMEDKEY",
        ),
        // A task's role, EKS Pod Identity.
        (
            vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.as_str())],
            "CONTAINERKEY",
        ),
    ] {
        let proxy = start(&registry, &aws, &environment).await;
        proxy.endpoint().get("/v2/").await.expect_status(200);
        let signature = signatures(&aws).pop().unwrap();
        assert!(signature.contains(&format!("Credential={key}/")), "{signature}");
        let log = proxy.output();
        assert!(
            ![SECRET_KEY, SESSION, WEB_TOKEN]
                .iter()
                .any(|secret| log.contains(secret)),
            "{log}"
        );
    }
}

/// Runs `check` with the keys of an AWS user.
fn check(registry: &str, aws: &Service) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("refshim.toml");
    std::fs::write(&file, config(registry, aws)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_refshim"));
    command.args(["check", "--config"]).arg(&file).env_clear();
    let output = command.envs(NOWHERE).envs(KEYS).output().unwrap();
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(
        !printed.contains(PASSWORD) && !printed.contains(SECRET_KEY),
        "{printed}"
    );
    (output.status.code(), printed)
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_whether_a_token_is_to_be_had() {
    let registry = guarded().await;
    let (code, printed) = check(&registry.url(), &aws().await);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("ecr: the registry accepts them"), "{printed}");
    let denied = Service::start(|_| {
        let body = r#"{"__type":"AccessDeniedException","message":"User is not authorized"}"#;
        Response::builder().status(400).body(body.into()).unwrap()
    })
    .await;
    let (code, printed) = check(&registry.url(), &denied);
    assert_eq!(code, Some(1), "{printed}");
    let problem = "Amazon ECR gives no token: AccessDeniedException: User is not authorized";
    assert!(printed.contains(problem), "{printed}");
}
