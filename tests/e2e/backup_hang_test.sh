#!/bin/sh
# A backups' target that hangs (tests/e2e/hang/).
. "$(dirname "$0")/preload.sh"
run_preloaded hang
