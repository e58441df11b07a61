#!/bin/sh
# Builds the official etcd, etcdctl and etcdutl, at the version that go.mod
# pins, servers of 3.5 and 3.6 (the folders etcd35 and etcd36 hold their pins),
# and the runners (differential, faults) into build/interop/bin/. The official
# programs are built only if missing or if the pins changed; the runners always
# go through the compiler's cache.
set -eu

cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
bin=${INTEROP_BIN:-$root/build/interop/bin}
PATH=$PATH:/usr/local/go/bin
export PATH
# A toolchain other than the installed one is never fetched.
export GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS="-mod=readonly -trimpath -buildvcs=false -p=2"
mkdir -p "$bin"

# build NAME PACKAGE: compiles beside the target and renames, so that a
# program is never seen half written by another build that runs meanwhile.
build() {
	nice go build -o "$bin/.$1.$$" "$2"
	mv "$bin/.$1.$$" "$bin/$1"
}

# Servers of older versions, each from a module of its own, for ./migrate.
for name in etcd35 etcd36; do
	stamp=$(cat $name/go.mod $name/go.sum | cksum)
	if [ ! -x "$bin/$name" ] || [ "$(cat "$bin/.$name.stamp" 2>/dev/null || true)" != "$stamp" ]; then
		(cd "$name" && build "$name" go.etcd.io/etcd/server/v3)
		printf '%s\n' "$stamp" >"$bin/.$name.stamp"
	fi
done

stamp=$(cat go.mod go.sum | cksum)
for pair in etcd:server etcdctl:etcdctl etcdutl:etcdutl; do
	name=${pair%%:*}
	if [ ! -x "$bin/$name" ] || [ "$(cat "$bin/.$name.stamp" 2>/dev/null || true)" != "$stamp" ]; then
		build "$name" "go.etcd.io/etcd/${pair##*:}/v3"
		printf '%s\n' "$stamp" >"$bin/.$name.stamp"
	fi
done
for runner in differential faults; do
	build "$runner" "./$runner"
done
