# Counts of tests: each group reports its own, finish adds them up. Sourced after tools/common.sh; LOGS is the folder of logs.

PASSED=0
FAILED=0

# group NAME PASSED FAILED [LOG...]: adds the counts and shows the logs' ends if something failed. Where the caller has set
# `took`, it says how many seconds that were.
group() {
  local name=$1 log
  PASSED=$((PASSED + $2))
  FAILED=$((FAILED + $3))
  printf '%-32s %4d passed, %d failed%s\n' "$name" "$2" "$3" "${took:+, $took s}"
  if (($3)); then
    shift 3
    for log in "$@"; do
      [[ -s $log ]] || continue
      [[ $log == "$LOGS"/* ]] || cp "$log" "$LOGS/${name//[^a-z0-9_]/-}-$(basename "$log")"
      printf -- '--- end of %s\n' "$log"
      tail -n 60 "$log"
    done
  fi
}
count() { grep -cE "$1" "$2" || true; }

# group_of_regress NAME STATUS LOG [DETAILS...]: counts what pg_regress, or pg_isolation_regress, of any version printed.
group_of_regress() {
  local name=$1 status=$2 log=$3 good bad
  good=$(count '^((test| ) .*\.\.\. ok|ok [0-9])' "$log")
  bad=$(count '^((test| ) .*\.\.\. FAILED|not ok [0-9])' "$log")
  ((status == 0 || bad > 0)) || bad=1
  ((good > 0 || bad > 0)) || bad=1
  group "$name" "$good" "$bad" "${@:3}"
}

finish() {
  printf '%d passed, %d failed\n' "$PASSED" "$FAILED"
  ((FAILED == 0 && PASSED > 0)) && exit 0
  exit 1
}
