# What the scripts in this folder share. They are deterministic: the same commit and the same compilers make the same bytes.
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
version=$(sed -n 's/^version = "\(.*\)"/\1/p;T;q' "$project/Cargo.toml")
# All dates in what is made are the commit's, unless they are given.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$project" log -1 --format=%ct)}

# Prints the comment at the top of the calling script.
usage() {
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

# pack ARCHIVE TAR-ARGUMENT…
pack() {
  tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --mode=u=rwX,go=rX "${@:2}" | gzip -9n >"$1"
}
