#!/bin/sh
# kedge takes over a folder of etcd's whatever a power loss during the conversion leaves of it (tests/e2e/powerloss/).
# POWERLOSS_EVERY=1 tries every point of the trace, POWERLOSS_SEED other choices of what got lost.
. "$(dirname "$0")/preload.sh"
tools=$("$here/powerloss/build") || exit 1
exec python3 -B "$here/powerloss/convert.py" "$kedge" "${kedge}ctl" "$tools" --seed "${POWERLOSS_SEED:-1}" --every "${POWERLOSS_EVERY:-1}"
