#!/bin/sh
# Builds RocksDB once per machine into a cache outside the checkout, and prints the environment that makes cargo link it.
#
#   eval "$(dev/rocksdb.sh)"
#
# The cache is named by the crate's version, its features, optimisation and compiler, so a change of any of them builds
# anew and an old checkout still finds its own. Without this script `cargo build` works too: it then compiles RocksDB
# file by file (ten to twenty minutes on two cores) in each target directory.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cache=${DEPESCHE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/depesche}

locked() { # the version of a crate in Cargo.lock
    awk -v want="name = \"$1\"" '$0 == want { getline; gsub(/version = |"/, ""); print; exit }' "$root/Cargo.lock"
}
rocksdb=$(locked rocksdb)
sys=$(locked librocksdb-sys)
features='"lz4", "zstd", "bindgen-runtime"'
compiler=$(c++ -dumpfullversion)-$(uname -m)
# As RocksDB's own builds have it.
optimised=2
# So many of its files are compiled as one.
together=16
name=$(printf '%s %s %s %s' "$sys" "$features" "$compiler" "$optimised" | sha256sum | cut -c1-12)
store=$cache/rocksdb-${sys%%+*}-$name

if [ ! -e "$store/complete" ]; then
    # One at a time: who waited finds it built. So what lies there under this name is what a build left that was killed.
    mkdir -p "$cache"
    exec 8>"$cache/rocksdb.lock"
    flock 8
    rm -rf "$cache"/rocksdb-build.*
fi
if [ ! -e "$store/complete" ]; then
    echo "Building RocksDB ${sys#*+} into $store (once per machine; five to ten minutes on two cores)" >&2
    work=$(mktemp -d "$cache/rocksdb-build.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    # A shell that ends by a signal does not come to what it does at its end.
    trap 'exit 130' INT TERM HUP
    mkdir -p "$work/src"
    echo 'use rocksdb as _;' > "$work/src/lib.rs"
    cat > "$work/Cargo.toml" <<TOML
[package]
name = "build-rocksdb"
version = "0.0.0"
edition = "2024"
[dependencies]
rocksdb = { version = "=$rocksdb", default-features = false, features = [$features] }
librocksdb-sys = "=$sys"
# Also where the cache lies in another workspace.
[workspace]
exclude = ["sys"]
[profile.release.package.librocksdb-sys]
opt-level = $optimised
TOML
    # Where its sources are. For this platform alone, so that nothing else is downloaded.
    host=$(rustc -vV | sed -n 's/^host: //p')
    crate=$(cd "$work" && cargo metadata --format-version 1 --filter-platform "$host" |
        grep -o '"manifest_path":"[^"]*librocksdb-sys[^"]*/Cargo.toml"' | head -n 1 | cut -d'"' -f4)
    crate=$(dirname "$crate")
    headers=$crate/rocksdb/include
    test -d "$headers"
    # Most of the time goes into the same headers again and again: files that lie together are compiled as one.
    cp -r "$crate" "$work/sys"
    sources=$work/sys/rocksdb_lib_sources.txt
    mkdir "$work/sys/rocksdb/parts"
    awk -v parts="$work/sys/rocksdb/parts" -v together=$together 'NF && $1 != "util/build_version.cc" {
        printf "#include \"%s\"\n", $1 > sprintf("%s/part-%02d.cc", parts, count / together)
        count++
    }' "$sources"
    (cd "$work/sys/rocksdb" && ls parts/*.cc) > "$sources"
    printf '[patch.crates-io]\nlibrocksdb-sys = { path = "sys" }\n' >> "$work/Cargo.toml"
    # Links nothing and needs the sources only; unset so that an older cache is not taken for the new one.
    (cd "$work" && env -u ROCKSDB_LIB_DIR -u ROCKSDB_INCLUDE_DIR -u ROCKSDB_STATIC \
        CARGO_TARGET_DIR="$work/target" cargo build --release >&2)
    rm -rf "$store"
    mkdir -p "$store/lib"
    find "$work/target/release/build" -name librocksdb.a -exec cp {} "$store/lib/" \;
    cp -r "$headers" "$store/include"
    test -s "$store/lib/librocksdb.a"
    : > "$store/complete"
fi

echo "export ROCKSDB_LIB_DIR='$store/lib' ROCKSDB_INCLUDE_DIR='$store/include' ROCKSDB_STATIC=1"
