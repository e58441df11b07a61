# Sourced by tests that put a library of their own before the C library. $here is their folder.
here=$(dirname "$0")
kedge=${KEDGE_BIN:-build}/kedge
if grep -qE '__(asan|tsan)_init' "$kedge"; then
    echo "0 passed, 0 failed, 1 skipped: a sanitizer's runtime cannot be preloaded over"
    exit 77
fi

# run_preloaded NAME: NAME/NAME.py with the library that NAME/NAME.c makes.
run_preloaded() {
    library=$(mktemp -d) || exit 1
    trap 'rm -rf "$library"' EXIT
    ${CC:-gcc} -shared -fPIC -O2 -D_GNU_SOURCE -Wall -Wextra -o "$library/$1.so" "$here/$1/$1.c" -ldl || exit 1
    /usr/bin/python3 -B "$here/$1/$1.py" "$library/$1.so"
}
