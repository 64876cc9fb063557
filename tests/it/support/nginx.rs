//! nginx with TLS or HTTP/2, which registries are often behind.

use std::path::Path;
use std::process::Command;

use super::eventually;
use super::process::{self, Process};

pub struct Nginx {
    _process: Process,
    port: u16,
}

impl Nginx {
    /// Listens with `options`, such as `ssl http2`, under the certificate in `folder`. `rest` is what else stands in the server's block.
    pub async fn start(folder: &Path, options: &str, rest: &str) -> Self {
        let port = process::free_port();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n\
             http {{ access_log off; client_max_body_size 0;\n\
             client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;\n\
             uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n\
             server {{ listen 127.0.0.1:{port} {options}; ssl_certificate {folder}/cert.pem;\n\
             ssl_certificate_key {folder}/key.pem; {rest} }} }}\n",
            folder = folder.display()
        );
        std::fs::write(folder.join("nginx.conf"), config).expect("the configuration is written");
        let mut command = Command::new(process::find("nginx"));
        command.arg("-e").arg("stderr").arg("-c").arg(folder.join("nginx.conf"));
        let nginx = Self {
            _process: Process::start("nginx", command, &folder.join("log")),
            port,
        };
        eventually("nginx listens", async || {
            tokio::net::TcpStream::connect(nginx.authority()).await.ok()
        })
        .await;
        nginx
    }

    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
