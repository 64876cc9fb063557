"""What registries are filled with and asked, over HTTP."""
import hashlib
import json
import re
import urllib.request

INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE = "application/vnd.oci.image.manifest.v1+json"


def get(port, path, method="GET", body=None, headers=None):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, data=body, headers=headers or {})
    with urllib.request.urlopen(request, timeout=300) as response:
        return response.read(), response.headers


def digest_of(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def push_blob(port, repository, content):
    _, headers = get(port, f"/v2/{repository}/blobs/uploads/", "POST", b"")
    location = headers["Location"]
    path = location[location.index("/v2/"):]
    get(port, path + ("&" if "?" in path else "?") + "digest=" + digest_of(content), "PUT", content,
        {"Content-Type": "application/octet-stream"})


def descriptor(media_type, content, **more):
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content), **more}


def push_manifest(port, repository, manifest, tag=None):
    content = json.dumps(manifest).encode()
    get(port, f"/v2/{repository}/manifests/{tag or digest_of(content)}", "PUT", content, {"Content-Type": IMAGE})
    return content


def signed_image(port, repository, referrers, tag="latest"):
    """An image with so many referrers, pushed to (or through) the port."""
    push_blob(port, repository, b"{}")
    config = descriptor("application/vnd.oci.image.config.v1+json", b"{}")
    image = push_manifest(port, repository, {"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [],
                                             "annotations": {"org.example.tag": tag}}, tag)
    empty = descriptor("application/vnd.oci.empty.v1+json", b"{}")
    for number in range(referrers):
        push_manifest(port, repository, {
            "schemaVersion": 2, "mediaType": IMAGE, "artifactType": "application/spdx+json", "config": empty, "layers": [empty],
            "subject": descriptor(IMAGE, image),
            "annotations": {"org.opencontainers.image.created": f"2026-01-01T00:00:{number:02}Z", "org.example.n": str(number)},
        })
    return digest_of(image)


def many_tags(data, repository, count, digest):
    """Tags on disk as Distribution's file system storage has them: pushing a hundred thousand takes too long."""
    tags = data / "docker/registry/v2/repositories" / repository / "_manifests/tags"
    for number in range(count):
        link = tags / f"build-{number:06}" / "current"
        link.mkdir(parents=True)
        (link / "link").write_text(digest)


def upstream_requests(program):
    text, _ = get(program.admin, "/metrics")
    return sum(float(value) for value in re.findall(r"^refshim_upstream_requests_total\{.*\} (\S+)$", text.decode(), re.M))
