#!/bin/sh
# A member of three whose disk hangs (tests/e2e/stall/).
kedge=${KEDGE_BIN:-build}/kedge
here=$(dirname "$0")
if grep -qE '__(asan|tsan)_init' "$kedge"; then
    echo "0 passed, 0 failed, 1 skipped: a sanitizer's runtime cannot be preloaded over"
    exit 77
fi
library=$(mktemp -d) || exit 1
trap 'rm -rf "$library"' EXIT
${CC:-gcc} -shared -fPIC -O2 -D_GNU_SOURCE -Wall -Wextra -o "$library/stall.so" "$here/stall/stall.c" -ldl || exit 1
/usr/bin/python3 -B "$here/stall/stall.py" "$library/stall.so"
