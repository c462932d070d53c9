#!/bin/sh
# Writes the model repository $REPOSITORY unless it is there. Of several pods that share the volume one exports, and
# the others wait for it. A pod that is deleted meanwhile ends at once, and leaves nothing half-written.
set -eu

trap 'kill "$!" 2>/dev/null || true; wait "$!" || true; exit 143' TERM INT

exec 9>"$REPOSITORY.lock"
flock 9 & # in the background, because the shell heeds signals only while it waits
wait "$!"
if [ -e "$REPOSITORY.complete" ]; then
    echo "$REPOSITORY is there"
    exit 0
fi
python -m export "$CHECKPOINT" --repository "$REPOSITORY" --runtime "$RUNTIME" --precision "$PRECISION" &
wait "$!"
touch "$REPOSITORY.complete"
