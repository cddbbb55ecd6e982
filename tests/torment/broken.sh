#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the tormentor once without each rule of core/observe/broken.h, with the faults that the rule is for, and says what it found, and
# after how many seconds. What chance does not bring about is left to the test that brings it about, unless it is named.
# Usage: broken.sh TORMENT [SECONDS [SEED [JOBS [RULE...]]]]   (TORMENT: of a build with -DSTRATA_BROKEN_RULES=ON)
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
torment=$1 seconds=${2:-60} seed=${3:-1} jobs=${4:-1} named=$(($# > 4))
if ((named)); then rules=("${@:5}"); else mapfile -t rules < <(sed -n 's/^    X(\([a-z_]*\), [0-9]*).*/\1/p' "$here/core/observe/broken.h"); fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
faults_of() { # rule: all where nothing is said
  case $1 in
  lease_from_sent) echo stall ;;
  absent_proof) echo stall,drop,client_pause ;;
  confirm) echo zombie ;;
  untrust_told | untrust_heard) echo migrate,lose ;;
  count_once) echo cut,kill_normal ;;
  clear_flights) echo delay,stall ;;
  replay) echo takeover,kill,pause_long ;;
  owed | owed_hidden) echo takeover,kill,pause_long,drop,stall,pause ;;
  esac
}
left_to() { # rule: the test that misses it
  case $1 in
  version_id | identity_bump) echo "the mutants of revalidate.pml" ;;
  since | redirect | sunsubscribe) echo coherence.trust_order ;;
  confirm_link | fill_identity | fill_term) echo coherence.trust_lease ;;
  hole_bump | absent | absent_node | restart_gap) echo coherence.trust ;;
  lease_node | owed_elsewhere) echo integration.recovery ;;
  stale_generation | stale_heard | stale_bound) echo integration.aging ;;
  barrier | fill_stamp | publish) echo "nothing, see docs/proofs.md" ;;
  esac
}
one() { # rule
  local found elsewhere faults
  elsewhere=$(left_to "$1") faults=$(faults_of "$1")
  if ((!named)) && [[ -n $elsewhere ]]; then
    printf '%-18s %s\n' "$1" "left to $elsewhere"
    return 0
  fi
  STRATA_TEST_BROKEN=$1 "$torment" --seconds "$seconds" --seed "$seed" ${faults:+--only "$faults"} >"$work/$1" 2>&1
  found=$(sed -n 's/^VIOLATION \([^:]*\): \([0-9]*\) times\(, first after \([0-9.]*\) s\)\{0,1\}.*/\1 (\2, after \4 s)/p' "$work/$1" | paste -sd, | sed 's/,/, /g')
  printf '%-18s seed %-4s %s: %s\n' "$1" "$seed" "${faults:-all faults}" "${found:-NOTHING FOUND: $(tail -n 1 "$work/$1")}"
  [[ -n ${KEEP_LOGS-} ]] && cp "$work/$1" "$KEEP_LOGS/$1-$seed.log"
  return 0
}
export -f one faults_of left_to
export torment seconds seed named work KEEP_LOGS
printf '%s\n' "${rules[@]}" | xargs -P "$jobs" -I{} bash -c 'one {}'
