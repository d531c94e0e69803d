#!/bin/sh
# `crossfade` in the image: in place of this shell, so that signals reach it and the exit code is its own.
exec node /opt/crossfade/services/cli/main.ts "$@"
