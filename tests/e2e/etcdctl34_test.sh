#!/bin/bash
# Debian's etcdctl 3.4 does what its users do with it.
set -u
here=$(dirname "$0")
command -v etcdctl >/dev/null || { echo "0 passed, 0 failed, 1 skipped: no etcdctl (package etcd-client)"; exit 77; }
exec /usr/bin/python3 "$here/etcdctl34.py" "${MEMBERS:-1}" "$@"
