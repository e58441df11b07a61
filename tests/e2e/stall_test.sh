#!/bin/sh
# A member of three whose disk hangs (tests/e2e/stall/).
. "$(dirname "$0")/preload.sh"
run_preloaded stall
