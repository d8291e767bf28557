#!/usr/bin/env bash
# Counts the instructions of six hot paths with callgrind and compares them with benches/instructions.txt.
#
#   benches/instructions.sh            fails where a path needs 5% more than written there
#   benches/instructions.sh --bless    writes them there
#
# A path runs N and 3 N times; the difference divided by 2 N is what one time costs.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
file=benches/instructions.txt
compiler=$(rustc --version)

cargo build --release --example instructions
cargo build --release --package pointsman-ffi
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
${CC:-cc} -O2 -std=c11 -D_GNU_SOURCE -Iinclude -Iffi/tests/c ffi/tests/c/cost.c \
  "$target/release/libpointsman.a" -lpthread -ldl -lm -lgcc_s -o "$work/c"

collected() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 >/dev/null |
    awk '/Collected/ { print $4; found = 1 } END { exit !found }'
}
each() {
  local count=$1
  shift
  echo $((($(collected "$@" $((3 * count))) - $(collected "$@" "$count")) / (2 * count)))
}

driver=$target/release/examples/instructions
{
  echo "# Instructions per request, counted by benches/instructions.sh; --bless rewrites this file."
  echo "# Processors without BMI2 need more where prompts are hashed, those without AVX2 more for bodies."
  echo "compiler $compiler"
  echo "round_robin $(each 20000 "$driver" round_robin)"
  echo "power_of_two $(each 20000 "$driver" power_of_two)"
  echo "cache_aware_hit $(each 4000 "$driver" cache_aware_hit)"
  echo "cache_aware_miss $(each 4000 "$driver" cache_aware_miss)"
  echo "body_fingerprint $(each 200 "$driver" body_fingerprint)"
  echo "c_round_robin $(each 20000 "$work/c" library round_robin)"
} > "$work/counts"

if [ "${1:-}" = --bless ]; then
  cp "$work/counts" "$file"
  cat "$file"
  exit
fi
if [ "$(grep '^compiler' "$file")" != "compiler $compiler" ]; then
  echo "not checked: the counts of $(grep '^compiler' "$file" | cut -d' ' -f2-) missing for $compiler"
  [ -z "${CI:-}" ]
  exit
fi
awk '
  /^#|^compiler/ { next }
  NR == FNR { before[$1] = $2; next }
  { verdict = ""
    if (!($1 in before) || $2 > before[$1] * 1.05) { verdict = "  GROWN"; grown = 1 }
    printf "%-18s %9d, before %9d%s\n", $1, $2, before[$1], verdict }
  END { exit grown }' "$file" "$work/counts"
