#!/bin/sh
# A backups' target that hangs (tests/e2e/hang/).
kedge=${KEDGE_BIN:-build}/kedge
here=$(dirname "$0")
if grep -qE '__(asan|tsan)_init' "$kedge"; then
    echo "0 passed, 0 failed, 1 skipped: a sanitizer's runtime cannot be preloaded over"
    exit 77
fi
library=$(mktemp -d) || exit 1
trap 'rm -rf "$library"' EXIT
${CC:-gcc} -shared -fPIC -O2 -D_GNU_SOURCE -Wall -Wextra -o "$library/hang.so" "$here/hang/hang.c" -ldl || exit 1
/usr/bin/python3 -B "$here/hang/hang.py" "$library/hang.so"
