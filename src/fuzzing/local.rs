//! What is on this machine or on its admin listener: Docker's configuration, password files, references, events.

use crate::admin::fuzzing::Notifications;
use crate::auth::fuzzing::users;
use crate::auth::{Credentials, DockerConfig};
use crate::cli::fuzzing::TargetReference;
use crate::oci::Reference;

/// Docker's `config.json`.
pub(super) fn docker_config(bytes: &[u8]) {
    let Ok(config) = serde_json::from_slice::<DockerConfig>(bytes) else {
        return;
    };
    for host in ["registry.example", "docker.io", "127.0.0.1:5000"] {
        let Some(credentials) = config.in_file(host) else {
            continue;
        };
        let other_secret = match &credentials {
            Credentials::Password { user, .. } => Credentials::Password {
                user: user.clone(),
                password: "another".to_owned(),
            },
            Credentials::IdentityToken(_) => Credentials::IdentityToken("another".to_owned()),
        };
        // Whether the secret's text is in what is printed says nothing: it may be a part of the user's name, too.
        let printed = format!("{credentials:?}");
        assert_eq!(
            printed,
            format!("{other_secret:?}"),
            "what is printed depends on the secret"
        );
    }
}

/// An htpasswd file.
pub(super) fn htpasswd(bytes: &[u8]) {
    if let Err(problem) = users(bytes) {
        assert!(problem.len() < 200 && !problem.contains("hunter2"), "{problem}");
    }
}

/// A `REF` of the command line.
pub(super) fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(target) = text.parse::<TargetReference>() else {
        return;
    };
    let end = match &target.reference {
        Reference::Tag(tag) => format!(":{tag}"),
        Reference::Digest(digest) => format!("@{digest}"),
    };
    let printed = format!("{}://{}{end}", target.registry.scheme(), target.repository());
    let again: TargetReference = printed.parse().expect("a reference reads back");
    assert_eq!(
        (again.registry, again.repository, again.reference),
        (target.registry, target.repository, target.reference)
    );
}

/// The body of `POST /events`.
pub(super) fn events(bytes: &[u8]) {
    if let Err(error) = Notifications::read(bytes) {
        assert!(
            !error.to_string().contains('\n'),
            "an error takes more than a line: {error:?}"
        );
    }
}
