#!/bin/sh
# Builds the official etcd, etcdctl and etcdutl, at the version that go.mod
# pins, servers of 3.5 and 3.6 (the folders etcd35 and etcd36 hold their pins),
# and the runners (differential, faults) into build/interop/bin/. The official
# programs are built only if missing or if the pins changed; the runners always
# go through the compiler's cache.
#
#   build.sh              all of these
#   build.sh kubernetes   Kubernetes' control plane as well (ten minutes, the
#                         folder kubernetes holds its pins), for
#                         tests/e2e/control_plane_test.py
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

# official NAME FOLDER PACKAGE: one at the version that the folder pins.
official() {
	stamp=$(cat "$2/go.mod" "$2/go.sum" | cksum)
	if [ ! -x "$bin/$1" ] || [ "$(cat "$bin/.$1.stamp" 2>/dev/null || true)" != "$stamp" ]; then
		(cd "$2" && build "$1" "$3")
		printf '%s\n' "$stamp" >"$bin/.$1.stamp"
	fi
}

official etcd35 etcd35 go.etcd.io/etcd/server/v3 # of older versions, for ./migrate
official etcd36 etcd36 go.etcd.io/etcd/server/v3
official etcd . go.etcd.io/etcd/server/v3
official etcdctl . go.etcd.io/etcd/etcdctl/v3
official etcdutl . go.etcd.io/etcd/etcdutl/v3
if [ "${1:-}" = kubernetes ]; then
	for name in kube-apiserver kube-controller-manager kube-scheduler; do
		official $name kubernetes k8s.io/kubernetes/cmd/$name
	done
fi
for runner in differential faults; do
	build "$runner" "./$runner"
done
