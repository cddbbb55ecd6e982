#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and runs the parent project: Strata as a subdirectory, or installed (CMake package and pkg-config).
# Usage: consumer.sh subdirectory|installed <source> <build> <work> <cc> <allocator>
set -euo pipefail
kind=$1 source=$2 build=$3 work=$4 cc=$5 allocator=$6

rm -rf "$work"
mkdir -p "$work"
if [[ ! -e $source/tests/build/exports.txt ]]; then
  echo "skipped: no golden list yet, so the public functions are not complete"
  exit 77
fi
common=(-G Ninja "-DCMAKE_C_COMPILER=$cc" -DCMAKE_BUILD_TYPE=Release)
case $kind in
subdirectory)
  cmake -S "$source/tests/build/parent" -B "$work/parent" "${common[@]}" "-DSTRATA_DIR_SOURCE=$source" \
    "-DSTRATA_ALLOCATOR=$allocator"
  ;;
installed)
  cmake --install "$build" --prefix "$work/prefix"
  cmake -S "$source/tests/build/parent" -B "$work/parent" "${common[@]}" "-DCMAKE_PREFIX_PATH=$work/prefix"
  ;;
*)
  echo "unknown kind: $kind" >&2
  exit 2
  ;;
esac
cmake --build "$work/parent" -j 2
"$work/parent/parent_strata"
"$work/parent/parent_shared"

if [[ $kind == installed ]]; then
  pc=$(find "$work/prefix" -name strata.pc -printf '%h\n')
  export PKG_CONFIG_PATH="$pc${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
  lib=$(dirname "$pc")
  main=$source/tests/build/parent/main.c
  pkg() { pkg-config --define-variable=prefix="$work/prefix" "$@" strata; }
  # shellcheck disable=SC2046 # the words of pkg-config are words
  "$cc" -std=c11 "$main" -o "$work/dynamic" $(pkg --cflags --libs) "-Wl,-rpath,$lib"
  "$work/dynamic"
  # shellcheck disable=SC2046
  "$cc" -std=c11 "$main" -o "$work/static" $(pkg --cflags) "$lib/libstrata.a" $(pkg --static --libs-only-l | sed 's/-lstrata //') -pthread
  "$work/static"
fi
