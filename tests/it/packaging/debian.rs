//! The Debian package.

use crate::packaging::{assembled, path, read, run};
use crate::support::process::find;
use crate::support::{Refshim, cli};

async fn package() -> String {
    let name = format!("refshim_{}-1_amd64.deb", env!("CARGO_PKG_VERSION"));
    assembled().await.join(name).display().to_string()
}

#[tokio::test]
async fn it_describes_itself() {
    let package = package().await;
    let field = |name| run(find("dpkg-deb"), &["--field", &package, name]).trim().to_owned();
    assert_eq!(field("Package"), "refshim");
    assert_eq!(field("Version"), concat!(env!("CARGO_PKG_VERSION"), "-1"));
    assert_eq!(field("Homepage"), env!("CARGO_PKG_REPOSITORY"));
    // What is linked statically depends on nothing.
    assert_eq!(field("Depends"), "");
    let conffiles = run(find("dpkg-deb"), &["--info", &package, "conffiles"]);
    assert_eq!(conffiles, "/etc/refshim/refshim.toml\n");
    for script in ["postinst", "prerm", "postrm"] {
        run(
            "/bin/sh",
            &[
                "-n",
                path(&format!("packaging/debian/{script}")).to_str().expect("UTF-8"),
            ],
        );
        run(find("dpkg-deb"), &["--info", &package, script]);
    }
}

#[tokio::test]
async fn lintian_finds_nothing() {
    // The tests' program is not linked statically and its package not compressed, unlike what is released.
    let of_the_tests = "undeclared-elf-prerequisites,mismatched-override,uses-no-compression-for-control-tarball,\
                        uses-no-compression-for-data-tarball";
    let said = run(
        find("lintian"),
        &[
            "--allow-root",
            "--fail-on",
            "error,warning",
            "--suppress-tags",
            of_the_tests,
            &package().await,
        ],
    );
    assert_eq!(said, "");
}

#[tokio::test]
async fn what_it_installs_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    run(
        find("dpkg-deb"),
        &["--extract", &package().await, root.to_str().expect("UTF-8")],
    );
    let file = |name: &str| std::fs::read_to_string(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let program = root.join("usr/bin/refshim");
    assert!(run(&program, &["--version"]).contains(env!("CARGO_PKG_VERSION")));

    let unit = file("usr/lib/systemd/system/refshim.service");
    assert!(unit.starts_with("[Unit]"), "{unit}");
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .expect("a command");
    assert_eq!(start, "/usr/bin/refshim serve --config /etc/refshim/refshim.toml");
    let users = root.join("usr/lib/sysusers.d/refshim.conf");
    run(find("systemd-sysusers"), &["--dry-run", users.to_str().expect("UTF-8")]);

    for page in ["refshim", "refshim-serve", "refshim-tree"] {
        let page = root.join(format!("usr/share/man/man1/{page}.1.gz"));
        let text = run(find("gzip"), &["-dc", page.to_str().expect("UTF-8")]);
        assert!(text.contains(".SH NAME"), "{}", page.display());
    }
    for completions in [
        "usr/share/bash-completion/completions/refshim",
        "usr/share/zsh/vendor-completions/_refshim",
        "usr/share/fish/vendor_completions.d/refshim.fish",
    ] {
        assert!(file(completions).contains("materialize"), "{completions}");
    }
    assert_eq!(
        file("usr/share/doc/refshim/examples/config.example.toml"),
        read("config.example.toml")
    );
}

/// What a fresh installation says, and what one line in its configuration makes of it.
#[tokio::test]
async fn its_configuration_asks_for_the_registry_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    run(
        find("dpkg-deb"),
        &["--extract", &package().await, folder.path().to_str().expect("UTF-8")],
    );
    let file = folder.path().join("etc/refshim/refshim.toml");
    let config = std::fs::read_to_string(&file).expect("a configuration");
    let arguments = ["serve", "--config", file.to_str().expect("UTF-8")];
    let error = cli::refshim(&arguments).await.refused(2);
    assert!(error.contains("url"), "{error}");

    let complete = config.replace("# url = \"https://ghcr.io\"", "url = \"http://127.0.0.1:9\"");
    let refshim = Refshim::bare().config(&complete).start().await;
    assert_eq!(refshim.admin().get("/healthz").await.status, 200);
}
