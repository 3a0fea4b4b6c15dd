#!/bin/sh
# What the tests with real clients need from Debian: installed where we are root, else named in one line.
set -eu
wanted=$(sed 's/#.*//' "$(dirname "$0")/apt-packages.txt" | tr -s ' \n' ' ')
command -v dpkg-query >/dev/null || { echo "not a Debian system: the tests need what these packages hold: $wanted"; exit 0; }
missing=$(for p in $wanted; do dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q '^install ok' || printf '%s ' "$p"; done)
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then
    echo "installing: $missing"
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "not root: tests that need these packages are skipped: $missing"
fi
