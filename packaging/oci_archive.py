"""Container images as OCI archives, written without a container engine. The same entries make the same bytes."""
import gzip
import hashlib
import io
import json
import os
import tarfile

OCI = "application/vnd.oci.image"


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encode(value):
    return json.dumps(value).encode()


def layer(entries):
    """The uncompressed layer: the entries, and the folders above them. An entry is
    /file           that file of this machine, at the same place
    /place=/file    a file at another place
    /place@/target  a symbolic link
    /folder/        an empty folder that everybody may write to
    """
    buffer, folders = io.BytesIO(), set()

    def add(tar, name, kind, mode, data=b"", target=""):
        info = tarfile.TarInfo(name.strip("/"))
        info.type, info.mode, info.size, info.linkname = kind, mode, len(data), target
        tar.addfile(info, io.BytesIO(data))

    def parents(tar, name):
        folder = os.path.dirname(name.rstrip("/"))
        if folder not in folders | {"/"}:
            parents(tar, folder)
            folders.add(folder)
            add(tar, folder, tarfile.DIRTYPE, 0o755)

    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for entry in entries:
            place, _, target = entry.partition("@")
            if target:
                parents(tar, place)
                add(tar, place, tarfile.SYMTYPE, 0o777, target=target)
                continue
            place, _, file = entry.partition("=")
            parents(tar, place)
            if place.endswith("/"):
                folders.add(place.rstrip("/"))
                add(tar, place, tarfile.DIRTYPE, 0o1777)
                continue
            file = os.path.realpath(file or place)
            with open(file, "rb") as opened:
                add(tar, place, tarfile.REGTYPE, 0o755 if os.access(file, os.X_OK) else 0o644, opened.read())
    return buffer.getvalue()


class Archive:
    """An image layout in the making: blobs are added first, then it is written with the manifests that it is about."""

    def __init__(self):
        self.blobs = {}

    def add(self, media_type, data, **more):
        """Takes a blob up and returns its descriptor."""
        self.blobs[sha256(data)] = data
        return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **more}

    def image(self, architecture, config, entries, annotations=None, level=6, **more):
        """An image of one layer; returns its manifest's descriptor. `more` are further fields of its configuration."""
        raw = layer(entries)
        image = {
            **more,
            "architecture": architecture,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [sha256(raw)]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": self.add(f"{OCI}.config.v1+json", encode(image)),
            "layers": [self.add(f"{OCI}.layer.v1.tar+gzip", gzip.compress(raw, level, mtime=0))],
        }
        if annotations:
            manifest["annotations"] = annotations
        platform = {"architecture": architecture, "os": "linux"}
        return self.add(manifest["mediaType"], encode(manifest), platform=platform)

    def index(self, manifests, annotations):
        index = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.index.v1+json",
            "manifests": manifests,
            "annotations": annotations,
        }
        return self.add(index["mediaType"], encode(index))

    def write(self, path, manifests):
        blobs = [("blobs/" + digest.replace(":", "/"), data) for digest, data in self.blobs.items()]
        index = encode({"schemaVersion": 2, "manifests": manifests})
        with tarfile.open(path, "w") as tar:
            for name, data in [("oci-layout", encode({"imageLayoutVersion": "1.0.0"})), ("index.json", index), *blobs]:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
