"""The programs that are compared, started on loopback and ended: refshim, nginx, haproxy and registries.

Everything runs as it is shipped: all cores, refshim with its log at `info`, the others with an access log, each into a file.
"""
import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
REFSHIM = pathlib.Path(os.environ.get("REFSHIM", ROOT / "target/dist/refshim"))
TOOLS = pathlib.Path(os.environ.get("REFSHIM_TOOLS", pathlib.Path.home() / ".cache/refshim-tools")) / "bin"
TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, path="/", seconds=20, hello=None):
    """Until something answers on the port, whatever it says."""
    hello = hello or f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode()
    end = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as peer:
                peer.sendall(hello)
                if peer.recv(1):
                    return
        except OSError:
            pass
        if time.monotonic() > end:
            sys.exit(f"nothing answers on port {port}")
        time.sleep(0.002)


class Program:
    """A process and its children, their CPU time and memory. Both outputs go to the file `log`."""

    def __init__(self, log, *argv, env=None):
        with open(log, "ab") as out:
            self.process = subprocess.Popen([str(a) for a in argv], stdout=out, stderr=out, env={**os.environ, **(env or {})})

    def pids(self):
        own = self.process.pid
        children = pathlib.Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return [own, *map(int, children)]

    def cpu(self):
        """Seconds of user and system time so far."""
        ticks = 0
        for pid in self.pids():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICK

    def rss(self):
        """Resident memory in MiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Bench:
    """A temporary folder, what runs there, and the rows of the table."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="refshim-bench-"))
        self.running = []

    def start(self, *argv, **more):
        program = Program(self.dir / f"log{len(self.running)}", *argv, **more)
        self.running.append(program)
        return program

    def end(self):
        for program in reversed(self.running):
            program.end()
        shutil.rmtree(self.dir, ignore_errors=True)

    def row(self, what, *cells):
        print("|", " | ".join([what, *cells]), "|", flush=True)

    def certificate(self):
        """A certificate for 127.0.0.1 and its key, in one file."""
        file = self.dir / "server.pem"
        if not file.exists():
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                            "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                            "-keyout", f"{file}.key", "-out", f"{file}.crt"], check=True, capture_output=True)
            file.write_bytes(b"".join(pathlib.Path(f"{file}.{part}").read_bytes() for part in ("crt", "key")))
        return file

    def nginx(self, server, logs=True):
        port = free_port()
        folder = self.dir / f"nginx{port}"
        folder.mkdir()
        user = "user root;" if os.geteuid() == 0 else ""  # its workers must read the temporary folder
        (folder / "nginx.conf").write_text(f"""
{user} daemon off; worker_processes auto; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log {f'{folder}/access.log' if logs else 'off'};
  sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000000; default_type application/octet-stream;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s;
  {server(port)}
}}""")
        program = self.start("nginx", "-p", folder, "-c", folder / "nginx.conf")
        time.sleep(0.3)  # it may speak TLS or HTTP/2 only, which nothing here asks it in
        return program, port

    def static(self, files, tls="", logs=False):
        """nginx serving {path: (content type, bytes or a number of them)}, over TLS where `tls` is "ssl" or "ssl http2"."""
        folder = self.dir / f"static{len(self.running)}"
        folder.mkdir()
        absent = '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"there is no such thing here"}]}'
        stated = f"error_page 404 @absent; location @absent {{ default_type application/json; return 404 '{absent}'; }}\n"
        locations = stated + f"ssl_certificate {self.certificate()}; ssl_certificate_key {self.certificate()};" if tls else stated
        for number, (path, (media_type, content)) in enumerate(files.items()):
            file = folder / str(number)
            if isinstance(content, int):
                with open(file, "wb") as out:
                    out.truncate(content)
            else:
                file.write_bytes(content)
            digest = "sha256:" + hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else ""
            header = f'add_header Docker-Content-Digest "{digest}";' if digest else ""
            locations += f'location = {path} {{ alias {file}; types {{ }} default_type "{media_type}"; {header} }}\n'
        return self.nginx(lambda port: f"server {{ listen 127.0.0.1:{port} {tls}; {locations} }}", logs)

    def nginx_proxy(self, upstream, tls="", http2=False):
        scheme = "https" if tls else "http"
        return self.nginx(lambda port: f"""
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{ listen 127.0.0.1:{port} {'http2' if http2 else ''};
    location / {{ proxy_pass {scheme}://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }}""")

    def haproxy(self, upstream, tls="", http2=False):
        port = free_port()
        config = self.dir / f"haproxy{port}.cfg"
        alpn = "h2" if "http2" in tls else "http/1.1"
        config.write_text(f"""
global
  maxconn 4096
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend f
  bind 127.0.0.1:{port} {'proto h2' if http2 else ''}
  default_backend b
backend b
  server s 127.0.0.1:{upstream} {f'ssl verify none alpn {alpn}' if tls else ''}
""")
        program = self.start("haproxy", "-f", config, "-db")
        time.sleep(0.3)
        return program, port

    def registry(self, program):
        port = free_port()
        data = self.dir / f"registry{port}"
        config = self.dir / f"registry{port}.yml"
        config.write_text(json.dumps({
            "version": "0.1", "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(data)}},
            "http": {"addr": f"127.0.0.1:{port}"},
        }))
        running = self.start(program, "serve", config, env={"OTEL_TRACES_EXPORTER": "none"})
        wait_for(port, "/v2/")
        return running, port, data

    def refshim(self, upstream, tls="", http2=False, config="", env=None):
        """Speaks HTTP/2 with whoever begins so: `http2` is for the others."""
        port, admin = free_port(), free_port()
        file = self.dir / f"refshim{port}.toml"
        file.write_text(config)
        trust = ["--ca-file", f"{self.certificate()}.crt"] if tls else []
        begun = time.monotonic()
        program = self.start(REFSHIM, "serve", "--config", file, "--upstream", f"{'https' if tls else 'http'}://127.0.0.1:{upstream}",
                             "--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{admin}", *trust, env=env)
        wait_for(admin, "/healthz")
        program.started = time.monotonic() - begun
        program.admin = admin
        return program, port
