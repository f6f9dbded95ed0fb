#!/usr/bin/env bash
# Say plainly what this machine lacks, before anything is installed.
set -eu
python=${1:-python3}
fail() { echo "flowbook: $1" >&2; exit 1; }

command -v "$python" >/dev/null || fail "'$python' was not found; install Python 3.11 or newer, or say 'make PYTHON=/path/to/python3'"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || fail "$("$python" --version) is too old; Flowbook needs 3.11 or newer ('make PYTHON=/path/to/python3.12')"
"$python" -c 'import ensurepip, venv' 2>/dev/null \
    || fail "this Python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv"
command -v npm >/dev/null || fail "npm was not found; install Node.js 20 or newer (it brings npm)"
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' \
    || fail "node $(node --version) is too old; the extension needs 20 or newer"
