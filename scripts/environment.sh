# Sourced by the other scripts: `use_environment EXTRA,…` activates a virtual environment with this project and extras of it.
# An active one is used as it is; otherwise .venv is made. Installing is skipped when nothing has changed.

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.12 python3.11 python3 python; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "xlsr-st needs Python 3.11 or 3.12 with venv; install one, or set PYTHON=/path/to/python3.11" >&2
    return 1
}

use_environment() {
    local extras=$1 root python stamp
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    if [ -z "${VIRTUAL_ENV:-}" ]; then
        if [ ! -x "$root/.venv/bin/python" ]; then
            python=$(find_python) || return 1
            echo "making $root/.venv with $python" >&2
            "$python" -m venv "$root/.venv" || return 1
        fi
        # shellcheck disable=SC1091
        . "$root/.venv/bin/activate"
    fi
    stamp="$VIRTUAL_ENV/xlsr-st-$extras-$(cksum <"$root/setup.py" | cut -d' ' -f1).$(echo "$root" | cksum | cut -d' ' -f1)"
    if [ ! -e "$stamp" ]; then
        echo "installing xlsr-st[$extras] into $VIRTUAL_ENV (a few minutes the first time: torch is large)" >&2
        # Modules are compiled when they are first imported: most never are, and pip takes half a minute for all.
        python -m pip install --quiet --disable-pip-version-check --no-compile -e "$root[$extras]" || return 1
        touch "$stamp"
    fi
}
