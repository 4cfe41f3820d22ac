#!/usr/bin/env bash
# Run the tests. Sets everything up by itself (.venv, unless an environment is active).
#   scripts/test.sh                 the default tests, under 10 minutes
#   scripts/test.sh -m slow         the longer proofs
#   scripts/test.sh tests/unit -x   anything else that pytest takes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh
use_environment dev
if [[ " $* " != *" -m "* ]]; then
    set -- -m "not slow and not gpu and not network" "$@"
fi
# Two processes of one thread each: two cores are used, and no test fights another for them.
export OMP_NUM_THREADS=1
# Without the reordering, which starts files of many tests first, so that one process is left alone with the long ones.
exec python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
