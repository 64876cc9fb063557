use http::HeaderValue;

use super::*;

#[tokio::test(start_paused = true)]
async fn who_was_somebody_does_not_become_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    let source = || CredentialsSource::DockerConfig {
        file: Some(file.clone()),
        host: "registry".into(),
    };
    std::fs::write(&file, r#"{"auths": {"registry": {"auth": "YTpi"}}}"#).unwrap();
    let login = Authenticator::<AuthProblem>::new(source(), false);
    assert!(login.credentials().await.unwrap().is_some());
    std::fs::write(&file, "{}").unwrap();
    tokio::time::advance(login.source.holds_for()).await;
    let problem = login.credentials().await.unwrap_err().to_string();
    assert!(problem.contains("log in again"), "{problem}");
    let nobody = Authenticator::<AuthProblem>::new(source(), false);
    assert_eq!(nobody.credentials().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_leaves_alone_what_was_just_fetched_of_a_helper() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    let write = |auth: &str| {
        let auths = serde_json::json!({"auths": {"registry": {"auth": auth}}});
        std::fs::write(&file, auths.to_string()).unwrap();
    };
    let source = CredentialsSource::DockerConfig {
        file: Some(file.clone()),
        host: "registry".into(),
    };
    let login = Authenticator::<AuthProblem>::new(source, false);
    write("YTpvbGQ=");
    let old = login.basic().await.unwrap();
    write("YTpuZXc=");
    login.forget(&[]);
    assert_eq!(login.basic().await.unwrap(), old);
    tokio::time::advance(login.source.trusted_for()).await;
    login.forget(&[]);
    let new = Authorization::Header(HeaderValue::from_static("Basic YTpuZXc="));
    assert_eq!(login.basic().await.unwrap(), new);
}
