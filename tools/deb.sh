# ./run deb [VERSION...]: Debian packages postgresql-VERSION-vecckpt, in .local/deb. For each version two trees (tools/trees.sh): one
# to build in; one where nothing but the package and what it depends on gets installed, is tested by debian/tests/installcheck,
# and removed. The last line is "N passed, N failed".

[[ $EUID == 0 ]] || exec sudo --preserve-env=DEBIAN_MIRROR,VECCKPT_TREES "$ROOT/run" deb "$@"

source "$ROOT/tools/counts.sh"
source "$ROOT/tools/trees.sh"

versions=("$@")
(($#)) || mapfile -t versions < <(printf '%s\n' "${!SUITES[@]}" | sort -n)
LOGS=$LOCAL/logs-deb
DEBS=$LOCAL/deb
rm -rf "$LOGS" "$DEBS"
mkdir -p "$LOGS" "$DEBS"
lock_tree "$TREES/deb"

# build_package VERSION: in a tree; leaves the package in DEBS.
build_package() {
  local version=$1 suite=${SUITES[$1]} log=$LOGS/build-$1.log
  local tree=$TREES/$suite-build
  install_tree "$tree" "$suite" "$tree.log" build-essential debhelper postgresql-server-dev-all
  rm -rf "$tree/build"
  copy_source "$tree/build/vecckpt"
  # The versions in debian/control are those of the suite's.
  in_tree "$tree" env DEB_BUILD_OPTIONS="parallel=$JOBS" bash -c 'set -e
    cd /build/vecckpt
    pg_buildext updatecontrol
    apt-get build-dep -y --no-install-recommends ./
    dpkg-buildpackage -b -us -uc' </dev/null >"$log" 2>&1 &&
    cp "$tree/build"/postgresql-"$version"-vecckpt_*.deb "$DEBS/" || return
  # With the compiler's own words: -Werror is off there.
  ! grep -E '^src/.*: warning:' "$log"
}

# Prints what is left of the extension in a tree.
remains() {
  local tree=$1
  find "$tree/usr" "$tree/var/lib/dpkg/info" -name '*vecckpt*'
}

# test_package VERSION
test_package() {
  local version=$1 suite=${SUITES[$1]} log=$LOGS/test-$1.log status=0
  local tree=$TREES/$suite-clean
  install_tree "$tree" "$suite" "$tree.log" make postgresql-server-dev-all
  in_tree "$tree" apt-get autoremove -y --purge "postgresql-*-vecckpt" </dev/null >"$log" 2>&1 || true
  rm -rf "$tree/vecckpt" "$tree/debs"
  copy_source "$tree/vecckpt"
  mkdir "$tree/debs"
  cp "$DEBS"/postgresql-"$version"-vecckpt_*.deb "$tree/debs/"
  if [[ -z $(remains "$tree") ]] && in_tree "$tree" bash -c 'apt-get install -y --no-install-recommends /debs/*.deb' </dev/null >>"$log" 2>&1; then
    group "package installs ($version)" 1 0
  else
    group "package installs ($version)" 0 1 "$log"
    return
  fi
  log=$LOGS/installcheck-$version.log
  in_tree "$tree" bash -c 'chown -R postgres: /vecckpt && cd /vecckpt && exec runuser -u postgres -- debian/tests/installcheck' </dev/null \
    >"$log" 2>&1 || status=$?
  group_of_regress "package's tests ($version)" "$status" "$log"
  in_tree "$tree" apt-get autoremove -y --purge "postgresql-$version-vecckpt" </dev/null >>"$LOGS/test-$version.log" 2>&1 || true
  if [[ -z $(remains "$tree") ]]; then
    group "package goes without trace ($version)" 1 0
  else
    group "package goes without trace ($version)" 0 1 "$LOGS/test-$version.log"
    remains "$tree"
  fi
}

for version in "${versions[@]}"; do
  [[ -n ${SUITES[$version]:-} ]] || die "no suite of Debian is known for PostgreSQL $version"
  if build_package "$version"; then
    group "package builds ($version)" 1 0
    test_package "$version"
  else
    group "package builds ($version)" 0 1 "$LOGS/build-$version.log"
  fi
done
((PASSED == 0)) || say "packages are in ${DEBS#"$ROOT"/}"
finish
