//! Certificates for servers on loopback.

use std::path::Path;
use std::process::Command;

/// Makes a certificate of 127.0.0.1 in `folder`, its own authority: `cert.pem` and `key.pem`.
pub fn make(folder: &Path) {
    make_lasting(folder, 2);
}

/// The same, valid for so many days.
pub fn make_lasting(folder: &Path, days: u32) {
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args(["-nodes", "-days", &days.to_string()])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .args(["-subj", "/CN=tests", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .current_dir(folder)
        .output()
        .expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
