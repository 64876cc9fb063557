#!/usr/bin/env python3
"""Writes a container image as an OCI archive that `ctr images import` takes, without a container engine.

image.py ARCHIVE NAME:TAG CONFIG ENTRY…    CONFIG is the image's configuration as JSON. An ENTRY is
  /file           that file of this machine, at the same place
  /place=/file    a file at another place
  /place@/target  a symbolic link
  /folder/        an empty folder that everybody may write to
"""
import gzip
import hashlib
import io
import json
import os
import sys
import tarfile


def layer(entries):
    """The uncompressed layer: the entries, and the folders above them."""
    buffer, folders = io.BytesIO(), set()

    def add(tar, name, kind, mode, **fields):
        info = tarfile.TarInfo(name.strip("/"))
        info.type, info.mode = kind, mode
        data = fields.pop("data", b"")
        info.size = len(data)
        for field, value in fields.items():
            setattr(info, field, value)
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
                add(tar, place, tarfile.SYMTYPE, 0o777, linkname=target)
                continue
            place, _, file = entry.partition("=")
            parents(tar, place)
            if place.endswith("/"):
                folders.add(place.rstrip("/"))
                add(tar, place, tarfile.DIRTYPE, 0o1777)
                continue
            file = os.path.realpath(file or place)
            with open(file, "rb") as opened:
                add(tar, place, tarfile.REGTYPE, os.stat(file).st_mode & 0o777 | 0o444, data=opened.read())
    return buffer.getvalue()


def main(archive, name, config, entries):
    raw = layer(entries)
    blobs = []

    def descriptor(media_type, data, **more):
        digest = hashlib.sha256(data).hexdigest()
        blobs.append((f"blobs/sha256/{digest}", data))
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data), **more}

    def encode(value):
        return json.dumps(value).encode()

    oci = "application/vnd.oci.image"
    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(raw).hexdigest()]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{oci}.manifest.v1+json",
        "config": descriptor(f"{oci}.config.v1+json", encode(image)),
        "layers": [descriptor(f"{oci}.layer.v1.tar+gzip", gzip.compress(raw, 1, mtime=0))],
    }
    named = {"annotations": {"io.containerd.image.name": name}, "platform": {"architecture": "amd64", "os": "linux"}}
    index = {"schemaVersion": 2, "manifests": [descriptor(f"{oci}.manifest.v1+json", encode(manifest), **named)]}
    with tarfile.open(archive, "w") as tar:
        for path, data in [("oci-layout", encode({"imageLayoutVersion": "1.0.0"})), ("index.json", encode(index)), *blobs]:
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4:])
