# The extension under AddressSanitizer and UBSan in a server: pg_regress and the isolation specs. PostgreSQL itself is not
# instrumented, so leaks are not looked for, and palloc's memory counts as one piece. The core comes from CMake's sanitized
# build. PostgreSQL looks for extensions only in its own folders, so the server is a copy. Sourced by tools/test.sh.

# Into build/sanitized, so that the ordinary objects stay.
build_sanitized() {
  local dir=$ROOT/build/sanitized
  configure_core asan -DVECCKPT_SANITIZE="$SANITIZERS" || return
  cmake --build "$ROOT/build/asan" -j "$JOBS" --target vecckpt_core || return
  mkdir -p "$dir"
  cp -Rpu "$ROOT/src" "$ROOT/sql" "$ROOT/Makefile" "$ROOT"/*.control "$dir/"
  make -C "$dir" -s -j "$JOBS" PG_CONFIG="$PG_CONFIG" VECCKPT_SANITIZE="$SANITIZERS" \
    VECCKPT_CORE="$ROOT/build/asan/libvecckpt_core.a" &&
    "${CC:-gcc}" -shared -fPIC -O1 -o "$dir/untranslated.so" "$ROOT/test/sanitized/untranslated.c"
}

# copy_postgres FOLDER ENVIRONMENT...: programs, libraries and shared files, which find each other by their relative places,
# with the extension of build/sanitized. Only `postgres` itself gets the environment.
copy_postgres() {
  local copy=$1 part
  shift
  for part in "$PGBIN" "$("$PG_CONFIG" --pkglibdir)" "$("$PG_CONFIG" --sharedir)"; do
    mkdir -p "$copy$(dirname "$part")"
    cp -RpL "$part" "$copy$part" || return
  done
  cp "$ROOT/build/sanitized/untranslated.so" "$copy/"
  cp "$ROOT/build/sanitized/vecckpt.so" "$copy$("$PG_CONFIG" --pkglibdir)/"
  cp "$ROOT"/*.control "$ROOT"/sql/vecckpt*--*.sql "$copy$("$PG_CONFIG" --sharedir)/extension/"
  part=$copy$PGBIN/postgres
  mv "$part" "$part.bin"
  printf '#!/bin/bash\nexport%s\nexec %s "$0.bin" "$@"\n' "$(printf ' %q' "$@")" \
    "${FIXED_ADDRESSES[*]}" >"$part"
  chmod 755 "$part"
}

# copy_sanitized FOLDER REPORTS: such a copy whose server preloads the sanitizers and writes their reports into a folder.
copy_sanitized() {
  local runtime options=abort_on_error=1:log_path=$2/report
  runtime=$("$(make -C "$ROOT" -s PG_CONFIG="$PG_CONFIG" print-CXX)" -print-file-name=libasan.so)
  [[ -f $runtime ]] || return
  as_server mkdir -p "$2"
  copy_postgres "$1" LD_PRELOAD="$runtime:$1/untranslated.so" \
    ASAN_OPTIONS="$options:detect_leaks=0" UBSAN_OPTIONS="$options:print_stacktrace=1"
}

sanitized_tests() {
  local log=$LOGS/sanitized-build.log copy=$SERVER_DIR/postgresql reports=$SERVER_DIR/reports found
  if ! { build_sanitized && copy_sanitized "$copy" "$reports"; } >"$log" 2>&1; then
    group "sanitized server builds" 0 1 "$log"
    return
  fi
  local SERVER_BIN=$copy$PGBIN
  # shellcheck disable=SC2086
  regress_tests sanitized_regress "$PGXS_TEST/regress/pg_regress" "$SERVER_DIR" $regress
  if [[ -n $isolation ]]; then
    # shellcheck disable=SC2086
    regress_tests sanitized_isolation "$PGXS_TEST/isolation/pg_isolation_regress" "$SERVER_DIR/test" $isolation
  fi
  mapfile -t found < <(find "$reports" -type f)
  group "sanitizers' reports" $((${#found[@]} == 0)) ${#found[@]} "${found[@]}"
}
