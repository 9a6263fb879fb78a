# ./run test: every kind of test. Each group reports its counts; the last line adds them up.
# PROVE_TESTS="test/t/x.pl ..." runs only those TAP files; VECCKPT_SKIP="asan tap ..." leaves groups out.

source "$ROOT/tools/counts.sh"
source "$ROOT/tools/fuzzers.sh"
source "$ROOT/tools/odd_machine.sh"
source "$ROOT/tools/attacks.sh"

# shellcheck disable=SC2046
setup $(test_packages)
# Tests that want large data say themselves when they skip.
if [[ -z ${VECCKPT_DATA:-} && -d $ROOT/../shared/data ]]; then
  VECCKPT_DATA=$(cd "$ROOT/../shared/data" && pwd -P)
fi
export VECCKPT_DATA=${VECCKPT_DATA:-}
LOGS=$LOCAL/logs
rm -rf "$LOGS"
mkdir -p "$LOGS"

# ---- The core, without a server
# count_core NAME EXECUTABLES STATUS LOG...: counts what the executables in build/NAME have reported. Each writes a report
# unless it crashed; a STATUS that no report explains counts as one failure.
count_core() {
  local dir=$ROOT/build/$1 total failures reports crashed
  reports=$(find "$dir/report" -name '*.xml' 2>/dev/null | wc -l)
  read -r total failures < <(find "$dir/report" -name '*.xml' -exec grep -h '^<testsuites ' {} + 2>/dev/null |
    sed -E 's/.*tests="([0-9]+)" failures="([0-9]+)".*errors="([0-9]+)".*/\1 \2 \3/' |
    awk '{ total += $1; bad += $2 + $3 } END { print total + 0, bad + 0 }')
  crashed=$(($2 - reports))
  (($3 == 0 || failures + crashed > 0)) || crashed=1
  (($2 > 0)) || crashed=1
  group "core ($1)" $((total - failures)) $((failures + crashed)) "${@:4}"
}

# core_tests NAME [CMAKE OPTION...]: every unit test.
core_tests() {
  local dir=$ROOT/build/$1 log=$LOGS/core-$1.log status=0
  if ! { configure_core "$@" && cmake --build "$dir" -j "$JOBS"; } >"$log" 2>&1; then
    group "core ($1)" 0 1 "$log"
    return
  fi
  (cd "$dir" && ctest -j "$JOBS" --output-on-failure) >"$log" 2>&1 || status=$?
  count_core "$1" "$(ctest --test-dir "$dir" -N | grep -c ' Test *#' || true)" $status "$log"
}

# The unit tests that start threads, under ThreadSanitizer: of those that build graphs, the quickest with several threads.
# Where the kernel spreads addresses too widely and they cannot be fixed, ThreadSanitizer gives up before main.
tsan_tests() {
  local dir=$ROOT/build/tsan log=$LOGS/core-tsan.log status=0 name failed=()
  local -A filters=([thread_pool_test]='*' [jobs_test]='JobsTest.*'
    [graph_builder_test]='*.LevelsComeFromSeeds*:*.NoNodesAndFewNodes:*.ObeysTheCancelFlag:*.RepairsGraphsOfUnevenNorms')
  if ! { configure_core tsan -DVECCKPT_SANITIZE=thread &&
    cmake --build "$dir" -j "$JOBS" --target "${!filters[@]}"; } >"$log" 2>&1; then
    group "core (tsan)" 0 1 "$log"
    return
  fi
  if "${FIXED_ADDRESSES[@]}" "$dir/thread_pool_test" --gtest_list_tests 2>&1 | grep -q 'unexpected memory mapping'; then
    say "core (tsan): not here; it needs setarch -R or vm.mmap_rnd_bits of at most 28"
    return
  fi
  for name in "${!filters[@]}"; do
    log=$LOGS/core-tsan-$name.log
    TSAN_OPTIONS=halt_on_error=1 "${FIXED_ADDRESSES[@]}" "$dir/$name" --gtest_filter="${filters[$name]}" \
      --gtest_output="xml:$dir/report/$name.xml" >"$log" 2>&1 || { status=$? && failed+=("$log"); }
  done
  count_core tsan ${#filters[@]} $status "${failed[@]}"
}

# Every fuzzer from its seeds, always with the same inputs; ./run fuzz tries others.
fuzz_tests() {
  local log=$LOGS/fuzz-build.log name
  if ! build_fuzzers >"$log" 2>&1; then
    group "fuzzers" 0 1 "$log"
    return
  fi
  rm -rf "$LOCAL/fuzz/short"
  for name in "${FUZZERS[@]}"; do
    log=$LOGS/$name.log
    if run_fuzzer "$name" "$LOCAL/fuzz/short/$name" -seed=1 -runs=3000 >"$log" 2>&1; then
      group "fuzz: $name" 1 0
    else
      group "fuzz: $name" 0 1 "$log"
    fi
  done
}

if ! skipped source; then
  "$ROOT/test/check_layers" >"$LOGS/layers.log" 2>&1 || true
  group "source checks" "$(count '^ok' "$LOGS/layers.log")" "$(count '^not ok' "$LOGS/layers.log")" "$LOGS/layers.log"
fi
skipped core || core_tests plain
skipped asan || core_tests asan -DVECCKPT_SANITIZE="$SANITIZERS"
skipped tsan || tsan_tests
skipped fuzz || fuzz_tests

# ---- The extension, in servers of the tests' own, in a copy that the server's user owns

if { build_extension && install_extension; } >"$LOGS/build.log" 2>&1; then
  group "extension builds" 1 0
else
  group "extension builds" 0 1 "$LOGS/build.log"
  finish
fi

remove_server_dir test
make_server_dir test
cp -R "$ROOT"/{doc,run,tools,sql,expected,test} "$ROOT"/[A-Z]* "$SERVER_DIR/"
[[ $EUID != 0 ]] || chown -R postgres: "$SERVER_DIR"
# The same lists as for make installcheck.
regress=$(make -C "$ROOT" -s PG_CONFIG="$PG_CONFIG" print-REGRESS)
isolation=$(make -C "$ROOT" -s PG_CONFIG="$PG_CONFIG" print-ISOLATION)

# regress_tests NAME PROGRAM INPUTDIR TEST...: in a server of SERVER_BIN.
SERVER_BIN=$PGBIN
regress_tests() {
  local name=$1 program=$2 input=$3 log=$LOGS/$1.log out=$SERVER_DIR/$1
  shift 3
  as_server mkdir -p "$out"
  local status=0
  as_server timeout -k 60 3600 env LC_ALL=C PGTZ=UTC "$program" --bindir="$SERVER_BIN" --inputdir="$input" --outputdir="$out" \
    --temp-instance="$out/tmp_check" --temp-config="$SERVER_DIR/test/regress.conf" --no-locale --encoding=UTF8 \
    --load-extension=vecckpt "$@" >"$log" 2>&1 || status=$?
  local details=$out/regression.diffs
  [[ -s $details ]] || details=$out/log/postmaster.log
  group_of_regress "$name" "$status" "$log" "$details"
}

skipped regress || regress_tests pg_regress "$PGXS_TEST/regress/pg_regress" "$SERVER_DIR" $regress
if ! skipped regress; then
  if [[ -f $("$PG_CONFIG" --sharedir)/extension/vector.control ]]; then
    regress_tests pgvector "$PGXS_TEST/regress/pg_regress" "$SERVER_DIR" \
      $(make -C "$ROOT" -s PG_CONFIG="$PG_CONFIG" print-REGRESS_PGVECTOR)
  else
    printf '%-32s skipped: pgvector is not installed for %s\n' pgvector "$("$PG_CONFIG" --version)"
  fi
fi
skipped regress || odd_machine_tests $regress
if [[ -n $isolation ]] && ! skipped isolation; then
  regress_tests isolation "$PGXS_TEST/isolation/pg_isolation_regress" "$SERVER_DIR/test" $isolation
fi
skipped sanitized || sanitized_tests

# as_server, with two small file systems below the folder VECCKPT_SMALL_DISKS: "files" and "data". They live in a mount
# namespace of the command's own, and so no longer than that. Where mounting is not allowed, without them.
with_small_disks() {
  local disks=$SERVER_DIR/disks
  local mounts='mount -t tmpfs -o size=4m,nr_inodes=4k,mode=0700,uid=postgres,gid=postgres tmpfs "$0/files" &&
    mount -t tmpfs -o size=64m,mode=0700,uid=postgres,gid=postgres tmpfs "$0/data"'
  as_server mkdir -p "$disks/files" "$disks/data"
  if [[ $EUID != 0 ]] || ! unshare --mount bash -c "$mounts" "$disks" 2>/dev/null; then
    as_server "$@"
    return
  fi
  (cd "$SERVER_DIR" && unshare --mount bash -c "$mounts"' && exec runuser -u postgres -- env VECCKPT_SMALL_DISKS="$0" "$@"' \
    "$disks" "$@")
}

# One TAP file, in the background of the others; its exit status is in LOG.status then. Ports are found together.
run_tap() {
  local file=$1 name dir run=as_server status=0
  ! grep -q VECCKPT_SMALL_DISKS "$ROOT/$file" || run=with_small_disks
  name=$(basename "$file" .pl)
  dir=$SERVER_DIR/tap/$name
  as_server mkdir -p "$dir"
  $run timeout -k 60 3600 env LC_ALL=C PATH="$PGBIN:$PATH" PG_REGRESS="$PGXS_TEST/regress/pg_regress" TESTDIR="$dir" \
    TESTDATADIR="$dir/tmp_check" TESTLOGDIR="$dir/tmp_check/log" VECCKPT_DATA="$VECCKPT_DATA" \
    VECCKPT_NODE_PATH="${VECCKPT_NODE_PATH:-}" VECCKPT_TEST_DATA="$SERVER_DIR/test/data" VECCKPT_FAULT_LIB="$SERVER_DIR/fault_points" top_builddir="$dir" \
    PG_TEST_PORT_DIR="$SERVER_DIR/ports" prove -v --merge -I "$PGXS_TEST/perl" -I "$SERVER_DIR/test/t/lib" \
    "$SERVER_DIR/$file" >"$LOGS/tap-$name.log" 2>&1 || status=$?
  printf '%s %s\n' "$status" "$SECONDS" >"$LOGS/tap-$name.status"
}

# Its test points count; a file that died without a failed one counts as one failure.
report_tap() {
  local name log status=1 took='' good bad
  name=$(basename "$1" .pl)
  log=$LOGS/tap-$name.log
  [[ ! -f $LOGS/tap-$name.status ]] || read -r status took <"$LOGS/tap-$name.status"
  good=$(grep -E '^ok ' "$log" | grep -vciE '# skip' || true)
  bad=$(grep -E '^not ok ' "$log" | grep -vciE '# todo' || true)
  ((status == 0 || bad > 0)) || bad=1
  group "tap: $name" "$good" "$bad" "$log" "$SERVER_DIR/tap/$name"/tmp_check/log/*.log
  grep -hE '(# skip|skipped:)' "$log" | sed 's/^/  /' || true
}

# As many at once as there are processors: they often wait. Reported in their order.
tap_files() {
  local file waiting=("$@") running=0
  as_server mkdir -p "$SERVER_DIR/ports"
  for file in "$@"; do
    if ((running == JOBS)); then
      wait -n || true
      running=$((running - 1))
    fi
    (SECONDS=0 && run_tap "$file") &
    running=$((running + 1))
    while [[ ${#waiting[@]} -gt 0 && -f $LOGS/tap-$(basename "${waiting[0]}" .pl).status ]]; do
      report_tap "${waiting[0]}"
      waiting=("${waiting[@]:1}")
    done
  done
  wait
  for file in "${waiting[@]}"; do
    report_tap "$file"
  done
}

if ! skipped tap; then
  files=$(cd "$ROOT" && ls ${PROVE_TESTS:-test/t/*.pl} 2>/dev/null || true)
  # The library that these tests load, beside the installed one.
  if (cd "$ROOT" && grep -lq '^require_fault_points' $files /dev/null); then
    if build_fault_points >"$LOGS/build-fault-points.log" 2>&1; then
      group "fault points build" 1 0
      as_server mkdir -p "$SERVER_DIR/fault_points"
      cp "$FAULT_POINTS_DIR/vecckpt.so" "$SERVER_DIR/fault_points/"
    else
      group "fault points build" 0 1 "$LOGS/build-fault-points.log"
    fi
  fi
  if (cd "$ROOT" && grep -lq VECCKPT_NODE_PATH $files /dev/null); then
    source "$ROOT/tools/node.sh"
    setup_node >"$LOGS/node.log" 2>&1
  fi
  # shellcheck disable=SC2086
  tap_files $files
fi

# Ten minutes of the random attack, in two or three kinds of server. A round in which nothing was found counts as one test.
attack_tests() {
  local kinds=(plain small) kind log status share
  skipped sanitized || kinds+=(sanitized)
  share=$(awk -v minutes="${VECCKPT_ATTACK_MINUTES:-10}" -v kinds=${#kinds[@]} 'BEGIN { print minutes / kinds }')
  for kind in "${kinds[@]}"; do
    log=$LOGS/attack-$kind.log
    status=0
    { build_attack "$kind" && attack "$kind" "$share"; } >"$log" 2>&1 || status=1
    group "attack: $kind" "$(count '^[0-9:]+ round .* comparisons$' "$log")" "$status" "$log"
    ((status)) || tail -n 1 "$log" | sed 's/^/  /'
  done
}
skipped attack || attack_tests

remove_server_dir test
finish
