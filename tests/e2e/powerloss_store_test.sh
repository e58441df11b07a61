#!/bin/sh
# Every cut of a recorded run of the store opens with all that was acknowledged (tests/e2e/powerloss/).
if "$(dirname "$0")/powerloss/run" "${POWERLOSS_SEED:-1}"; then
    echo "1 passed, 0 failed"
else
    echo "0 passed, 1 failed"
    exit 1
fi
