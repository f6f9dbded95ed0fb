#!/usr/bin/env bash
# The browser tests drive a real Chromium: find one, or install it where that is allowed.
set -eu
found() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
found >/dev/null && exit 0
if command -v apt-get >/dev/null; then
    if [ "$(id -u)" = 0 ]; then as_root=""; elif sudo -n true 2>/dev/null; then as_root="sudo -n"; else as_root="no"; fi
    if [ "$as_root" != no ]; then
        echo "setting up: Chromium for the browser tests"
        $as_root apt-get update -qq
        DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
        found >/dev/null && exit 0
    fi
fi
cat >&2 <<'MESSAGE'
flowbook: the browser tests need Chromium, and this user may not install it. One of these does:
    sudo apt-get install chromium        (Debian, Ubuntu)
    sudo dnf install chromium            (Fedora)
    brew install --cask chromium         (macOS)
Without a browser: make test TESTS='tests -m "not browser"'
MESSAGE
exit 1
