# shellcheck shell=bash
#
# setup.sh - what demo/run, test/run and .ci/run have in common; sourced, not run.
#
#   setup_packages build test   install what is missing of these sections of packages.txt
#   setup_tools                 set PYTHON to a python3 that works
#   setup_build DIR [OPTION..]  configure and build the tree in DIR
#
# With nothing missing no command of apt runs, so it works without a network and without root.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Some tests read the paths in debug information. A compiler cache that was told to ignore the
# directory would give those of whatever tree it compiled the file in first.
unset CCACHE_NOHASHDIR
export CCACHE_HASHDIR=1

say() { printf '%s\n' "${@-}"; }
die() {
    printf '%s/%s: %s\n' "$(basename "$(dirname "$0")")" "${0##*/}" "$*" >&2
    exit 1
}

# The packages of some sections, one a line.
packages_of() {
    local section

    for section in "$@"; do
        awk -v want="[$section]" '
            /^\[/ { on = $1 == want; next }
            on && NF && $1 !~ /^#/ { print $1 }' "$root/packages.txt"
    done | sort -u
}

# Of the packages named on standard input, those that are not installed. One that is called a|b by
# different releases is there when either is.
packages_missing() {
    local names name

    while read -r names; do
        for name in ${names//|/ }; do
            case $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null) in
            installed) continue 2 ;;
            esac
        done
        say "$names"
    done
}

# The packages given, each by the first of its names that this release has.
packages_here() {
    local names name

    for names in "$@"; do
        for name in ${names//|/ }; do
            case $(apt-cache policy "$name" 2>/dev/null) in
            *'Candidate: (none)'* | '') ;;
            *) break ;;
            esac
        done
        say "$name" # the last, if it has none: apt-get then says so
    done
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Some test packages are servers, and Debian starts a server when it is installed. We only want the
# program: for the time of the installation a policy says no (unless the machine has one already),
# and afterwards the new units are kept from starting at boot.
policy=/usr/sbin/policy-rc.d
policy_mark='# made by libprof for the time of one apt-get; may be deleted'

policy_set() {
    [ ! -e "$policy" ] || return 0
    printf '#!/bin/sh\n%s\nexit 101\n' "$policy_mark" | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
}

policy_unset() {
    if grep -qsF "$policy_mark" "$policy"; then
        as_root rm -f "$policy"
    fi
}

packages_install() {
    local unit

    (
        # In a subshell: the trap is undone with it, and a caller's own trap is left alone.
        trap policy_unset EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM HUP
        policy_set
        as_root apt-get update -q || true # old lists may do
        # shellcheck disable=SC2046 # a list of words
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends --no-remove $(packages_here "$@")
    ) || return

    [ -d /run/systemd/system ] || return 0
    for unit in "$@"; do
        case $unit in
        nginx-light) as_root systemctl disable --quiet nginx ;;
        redis-server | memcached) as_root systemctl disable --quiet "$unit" ;;
        esac
    done
}

setup_packages() {
    local missing

    if ! command -v dpkg-query >/dev/null; then
        say "not Debian: going on without looking for packages; packages.txt has their Debian names"
        return 0
    fi
    missing=$(packages_of "$@" | packages_missing | tr '\n' ' ')
    missing=${missing% }
    [ -n "$missing" ] || return 0

    say "installing: $missing"
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        die "this needs root and there is no sudo; as root, run: apt-get install $missing"
    fi
    # shellcheck disable=SC2086 # a list of words
    packages_install $missing >"${TMPDIR:-/tmp}/libprof-apt.$$" 2>&1 || {
        tail -n 20 "${TMPDIR:-/tmp}/libprof-apt.$$" >&2
        rm -f "${TMPDIR:-/tmp}/libprof-apt.$$"
        die "apt-get could not install: $missing"
    }
    rm -f "${TMPDIR:-/tmp}/libprof-apt.$$"
}

# Version managers put a python3 of their own first in PATH, which may lack what Debian's has.
setup_tools() {
    PYTHON=/usr/bin/python3
    [ -x "$PYTHON" ] || PYTHON=$(command -v python3) || die "no python3 found"
    MESON=$(command -v meson) || die "no meson found"
    if [ -x /usr/bin/meson ]; then
        MESON=/usr/bin/meson
    fi
    export PYTHON MESON
}

# --reconfigure does not take up every kind of option, so other options than last time mean a fresh
# start; so does a tree that has moved, or another compiler.
configure() {
    local dir=$1 how=--reconfigure

    shift
    if [ ! -f "$dir/build.ninja" ]; then
        "$MESON" setup "$@" "$dir" "$root" || return
    else
        if [ -f "$dir/setup.options" ] && [ "$(cat "$dir/setup.options")" != "$*" ]; then
            how=--wipe
        fi
        "$MESON" setup $how "$@" "$dir" "$root" ||
            "$MESON" setup --wipe "$@" "$dir" "$root" || return
    fi
    say "$*" >"$dir/setup.options"
}

# Quiet unless it fails. A directory that was built before is configured again, so that it follows
# the options given now.
setup_build() {
    local dir=$1 status=0 log why

    log=$(mktemp) # --wipe would take one in the directory with it
    { configure "$@" && "$MESON" compile -C "$dir"; } >"$log" 2>&1 || status=$?
    mkdir -p "$dir" && mv -f "$log" "$dir/setup.log" || return
    [ "$status" -ne 0 ] || return 0

    why=$(grep -E -A8 'error:|ERROR|FAILED|undefined reference' "$dir/setup.log" | head -n 60)
    [ -n "$why" ] || why=$(tail -n 20 "$dir/setup.log")
    say "$why" "the build failed; all it said is in $dir/setup.log" >&2
    return 1
}
