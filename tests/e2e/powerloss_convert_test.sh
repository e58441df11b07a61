#!/bin/sh
# kedge takes over a folder of etcd's whatever a power loss during the conversion leaves of it (tests/e2e/powerloss/).
# POWERLOSS_EVERY=1 tries every point of the trace, POWERLOSS_SEED other choices of what got lost.
bin=${KEDGE_BIN:-build}
here=$(dirname "$0")/powerloss
if grep -qE '__(asan|tsan)_init' "$bin/kedge"; then
    echo "0 passed, 0 failed, 1 skipped: a sanitizer's runtime cannot be preloaded over"
    exit 77
fi
tools=$("$here/build") || exit 1
exec python3 -B "$here/convert.py" "$bin/kedge" "$bin/kedgectl" "$tools" --seed "${POWERLOSS_SEED:-1}" --every "${POWERLOSS_EVERY:-1}"
