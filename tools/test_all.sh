# ./run test all: the tests here, then with every other supported PostgreSQL that Debian has, in a tree of its own.
# ./run test 17: only in the tree of that version. Environment as for ./run test; what does not depend on the version is
# tested once, here.

[[ $EUID == 0 ]] || exec sudo --preserve-env=DEBIAN_MIRROR,VECCKPT_TREES,VECCKPT_DATA,VECCKPT_SKIP,VECCKPT_ATTACK_MINUTES,PROVE_TESTS,PG_CONFIG \
  "$ROOT/run" test "$@"

source "$ROOT/tools/counts.sh"
source "$ROOT/tools/trees.sh"

LOGS=$LOCAL/logs
ALL_LOGS=$LOCAL/logs-all

# counted VERSION COMMAND...: shows a run of ./run test and adds its counts, which are its last line.
counted() {
  local name="PostgreSQL $1" log=$ALL_LOGS/$1/all.log passed failed
  rm -rf "${ALL_LOGS:?}/$1"
  mkdir -p "$ALL_LOGS/$1"
  say "---- $name"
  "${@:2}" 2>&1 </dev/null | tee "$log" | sed -uE '/^[0-9]+ passed, [0-9]+ failed$/d' || true
  if ! read -r passed failed < <(sed -nE '$s/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$log"); then
    passed=0 failed=1
  fi
  ((passed + failed > 0)) || failed=1
  group "$name" "$passed" "$failed"
}

# in_version VERSION: installs what is missing and runs the tests there.
in_version() {
  local version=$1 tree=$TREES/${SUITES[$1]}
  lock_tree "$tree"
  install_tree "$tree" "${SUITES[$1]}" "$tree.log" "postgresql-$version" "postgresql-$version-pgvector" \
    "postgresql-server-dev-$version" &&
    copy_source "$tree/vecckpt" &&
    in_tree "$tree" env PG_MAJOR="$version" VECCKPT_SKIP="source core asan tsan fuzz sanitized ${VECCKPT_SKIP:-}" VECCKPT_DATA="${TREE_DATA:+/mnt}" \
      ${VECCKPT_ATTACK_MINUTES:+VECCKPT_ATTACK_MINUTES="$VECCKPT_ATTACK_MINUTES"} ${PROVE_TESTS:+PROVE_TESTS="$PROVE_TESTS"} /vecckpt/run test
}

# Where ./run test looks for large data, too.
TREE_DATA=${VECCKPT_DATA:-}
[[ -n $TREE_DATA || ! -d $ROOT/../shared/data ]] || TREE_DATA=$(cd "$ROOT/../shared/data" && pwd -P)

versions=("$@")
if [[ $1 == all ]]; then
  setup
  here=$("$PG_CONFIG" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
  counted "$here" "$ROOT/run" test
  cp -R "$LOGS/." "$ALL_LOGS/$here"
  mapfile -t versions < <(printf '%s\n' "${!SUITES[@]}" | grep -vx "$here" | sort -n)
fi
for version in "${versions[@]}"; do
  [[ -n ${SUITES[$version]:-} ]] || die "no suite of Debian is known for PostgreSQL $version"
  counted "$version" in_version "$version"
  cp -R "$TREES/${SUITES[$version]}/vecckpt/.local/logs/." "$ALL_LOGS/$version" 2>/dev/null || true
done

finish
