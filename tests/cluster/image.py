#!/usr/bin/env python3
"""Writes a container image as an OCI archive that `ctr images import` takes, without a container engine.

image.py ARCHIVE NAME:TAG CONFIG ENTRY…    CONFIG is the image's configuration as JSON; packaging/oci_archive.py lists the entries.
"""
import json
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "packaging"))
from oci_archive import Archive


def main(path, name, config, entries):
    archive = Archive()
    image = archive.image("amd64", config, entries, level=1)
    archive.write(path, [{**image, "annotations": {"io.containerd.image.name": name}}])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4:])
