# ./run fuzz SECONDS: every fuzzer and SQLsmith for a part of the time. What fuzzers learn is kept in .local/fuzz, so that
# the next run goes on from there. Fails if anything was found.
source "$ROOT/tools/fuzzers.sh"
source "$ROOT/tools/sqlsmith.sh"

seconds=${1:-}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "usage: ./run fuzz SECONDS"
# shellcheck disable=SC2046
setup $(test_packages) sqlsmith
each=$(((seconds + ${#FUZZERS[@]}) / (${#FUZZERS[@]} + 1)))
LOGS=$LOCAL/fuzz/logs
mkdir -p "$LOGS"
build_fuzzers >"$LOGS/fuzz-build.log" 2>&1 || die "the fuzzers cannot be built; see $LOGS/fuzz-build.log"

found=0
for name in "${FUZZERS[@]}"; do
  log=$LOGS/fuzz-$name.log
  outcome="nothing found"
  if ! run_fuzzer "$name" "$LOCAL/fuzz/corpus/$name" -max_total_time="$each" >"$log" 2>&1; then
    found=1
    outcome="FOUND: see $log; the input is in $LOCAL/fuzz"
  fi
  printf '%-32s %9s inputs, %s\n' "$name" "$(inputs_tried "$log")" "$outcome"
done

{ build_extension && install_extension; } >"$LOGS/build.log" 2>&1 || die "the extension cannot be built; see $LOGS/build.log"
fuzz_sql "$each" || found=1
exit $found
