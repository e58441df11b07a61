#!/bin/sh
# A whole server starts on what power loss leaves of its folder, with all that was acknowledged (tests/e2e/powerloss/).
# POWERLOSS_EVERY=1 tries every point of the trace (some minutes), POWERLOSS_SEED another run.
. "$(dirname "$0")/preload.sh"
tools=$("$here/powerloss/build") || exit 1
exec python3 -B "$here/powerloss/server.py" "$kedge" "$tools" --seed "${POWERLOSS_SEED:-1}" --every "${POWERLOSS_EVERY:-40}" --canary
