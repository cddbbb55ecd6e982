#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the tormentor once without each rule of core/observe/broken.h, and says what it found, and after how many seconds.
# Usage: broken.sh TORMENT [SECONDS [SEED [JOBS [RULE...]]]]   (TORMENT: of a build with -DSTRATA_BROKEN_RULES=ON)
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
torment=$1 seconds=${2:-60} seed=${3:-1} jobs=${4:-1}
if [[ $# -gt 4 ]]; then rules=("${@:5}"); else mapfile -t rules < <(sed -n 's/^    X(\([a-z_]*\), [0-9]*).*/\1/p' "$here/core/observe/broken.h"); fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
one() { # rule
  STRATA_TEST_BROKEN=$1 "$torment" --seconds "$seconds" --seed "$seed" >"$work/$1" 2>&1
  local found
  found=$(sed -n 's/^VIOLATION \([^:]*\): \([0-9]*\) times, first after \([0-9.]*\) s.*/\1 (\2, after \3 s)/p' "$work/$1" | paste -sd, | sed 's/,/, /g')
  printf '%-18s seed %-4s %s\n' "$1" "$seed" "${found:-NOTHING FOUND: $(tail -n 1 "$work/$1")}"
  [[ -n ${KEEP_LOGS-} ]] && cp "$work/$1" "$KEEP_LOGS/$1-$seed.log"
  return 0
}
export -f one
export torment seconds seed work KEEP_LOGS
printf '%s\n' "${rules[@]}" | xargs -P "$jobs" -I{} bash -c 'one {}'
