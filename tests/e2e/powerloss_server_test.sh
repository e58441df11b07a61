#!/bin/sh
# A whole server starts on what power loss leaves of its folder, with all that was acknowledged (tests/e2e/powerloss/).
# POWERLOSS_EVERY=1 tries every point of the trace (some minutes), POWERLOSS_SEED another run.
kedge=${KEDGE_BIN:-build}/kedge
here=$(dirname "$0")/powerloss
if grep -qE '__(asan|tsan)_init' "$kedge"; then
    echo "0 passed, 0 failed, 1 skipped: a sanitizer's runtime cannot be preloaded over"
    exit 77
fi
tools=$("$here/build") || exit 1
exec python3 -B "$here/server.py" "$kedge" "$tools" --seed "${POWERLOSS_SEED:-1}" --every "${POWERLOSS_EVERY:-40}" --canary
