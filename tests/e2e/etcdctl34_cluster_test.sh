#!/bin/sh
# The same on a cluster of three, each command through another member; then the commands that change its members.
MEMBERS=3 exec "$(dirname "$0")/etcdctl34_test.sh" "$@"
