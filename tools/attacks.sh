# The random differential test of test/attack. Sourced by tools/attack.sh and tools/test.sh.

source "$ROOT/tools/sanitized.sh"

# build_attack KIND: what an attack of this kind needs beside the installed extension.
build_attack() {
  case $1 in
    small) build_fault_points ;;
    sanitized) build_sanitized ;;
  esac
}

# attack KIND MINUTES: in a folder that is removed unless something was found. The status says whether.
attack() {
  local kind=$1 minutes=$2 status=0 programs=$PGBIN options=()
  remove_server_dir attack
  make_server_dir attack
  cp -R "$ROOT/test/attack" "$SERVER_DIR/program"
  case $kind in
    small)
      mkdir "$SERVER_DIR/library"
      cp "$FAULT_POINTS_DIR/vecckpt.so" "$SERVER_DIR/library/"
      options=(--fault-library "$SERVER_DIR/library")
      ;;
    sanitized)
      local reports=$SERVER_DIR/reports
      copy_sanitized "$SERVER_DIR/postgresql" "$reports" || return
      programs=$SERVER_DIR/postgresql$PGBIN
      ;;
  esac
  as_server mkdir "$SERVER_DIR/run"
  as_server env VECCKPT_SEED="${VECCKPT_SEED:-}" PYTHONDONTWRITEBYTECODE=1 LC_ALL=C \
    /usr/bin/python3 "$SERVER_DIR/program/attack.py" "$programs" "$SERVER_DIR/run" "$minutes" "${options[@]}" || status=$?
  if [[ -n ${reports:-} ]] && find "$reports" -type f | grep -q .; then
    say "FOUND: sanitizers' reports in $reports"
    status=1
  fi
  if ((status == 0)); then
    remove_server_dir attack
  else
    say "the servers' folders and logs are in $SERVER_DIR"
  fi
  return $status
}
