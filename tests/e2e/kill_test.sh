#!/bin/sh
# SIGKILL under load in short form; .ci/run does 20 rounds, make prove 200.
exec "$(dirname "$0")/kill" --rounds "${KILL_ROUNDS:-5}"
