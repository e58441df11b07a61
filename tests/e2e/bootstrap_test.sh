#!/bin/sh
# ./bootstrap run: three members on loopback, and one; Ctrl-C stops them all and the next run finds the data again. Only
# of the plain build, which is what it runs.
set -u
cd "$(dirname "$0")/../.." || exit 1
if [ "$(cd "${KEDGE_BIN:-build}" && pwd)" != "$PWD/build" ]; then
    echo "0 passed, 0 failed, 1 skipped: not the plain build"
    exit 77
fi
folder=$(mktemp -d "${TMPDIR:-/tmp}/kedge-bootstrap.XXXXXX") || exit 1
trap 'rm -rf "$folder"' EXIT
passed=0
failed=0
check() {
    what=$1
    shift
    if "$@" >"$folder/out" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what"
        tail -n 20 "$folder/out" "$folder/run"
    fi
}

# A port behind which several more are free, below those of the other tests.
port=$(python3 -c 'import socket
def free(port):
    try:
        with socket.socket() as s:
            s.bind(("127.0.0.1", port))
            return True
    except OSError:
        return False
print(next(p for p in range(13000, 19000, 10) if all(free(p + i) for i in range(6))))') || exit 1

# start FLAG...: a process group of its own, as a terminal gives it.
start() {
    setsid ./bootstrap run --port="$port" --data-dir="$folder/data" "$@" >"$folder/run" 2>&1 &
    run=$!
    for _ in $(seq 300); do
        grep -q 'Ctrl-C stops it' "$folder/run" && return 0
        kill -0 "$run" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}
stop() {
    kill -INT -"$run"
    wait "$run"
    status=$?
    ! pgrep -f "$folder/data" >/dev/null && [ "$status" -eq 0 ]
}
ctl() {
    build/kedgectl --endpoints "http://127.0.0.1:$port,http://127.0.0.1:$((port + 2)),http://127.0.0.1:$((port + 4))" "$@"
}
value_is() {
    [ "$(ctl get greeting --print-value-only)" = "$1" ]
}

check "three members serve" start
check "through any of them" ctl put greeting hello
check "there are three" test "$(ctl member list | grep -c started)" -eq 3
check "a second run is refused" sh -c "! ./bootstrap run --port=$port --data-dir=$folder/other >/dev/null 2>&1"
victim=$(sed -n 's/.*kill -9 \([0-9]*\).*/\1/p' "$folder/run")
kill -9 "$victim"
sleep 3 # it may have led: what is sent to it in this moment is lost
check "the loss of one" ctl --endpoints "http://127.0.0.1:$port" put greeting again
setsid sh "$folder/data/m3.sh" >/dev/null 2>&1 &
again=$!
sleep 2
check "it comes back" sh -c "build/kedgectl --endpoints http://127.0.0.1:$((port + 4)) get greeting | grep -q again"
kill "$again"
wait "$again"
check "all stop on Ctrl-C" stop
check "the next run" start
check "finds the data" value_is again
check "and stops" stop
rm -rf "$folder/data"
check "one member serves" start --members=1
check "it takes a put" build/kedgectl --endpoints "http://127.0.0.1:$port" put greeting alone
check "it stops" stop
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
