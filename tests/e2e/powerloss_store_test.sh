#!/bin/sh
# Every cut of a recorded run of the store opens with all that was acknowledged (tests/e2e/powerloss/).
# POWERLOSS_SEEDS="1 2 3" for more runs.
# shellcheck disable=SC2086
if "$(dirname "$0")/powerloss/store" ${POWERLOSS_SEEDS:-1}; then
    echo "1 passed, 0 failed"
else
    echo "0 passed, 1 failed"
    exit 1
fi
