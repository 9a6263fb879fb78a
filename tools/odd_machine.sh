# pg_regress on a machine that is unlike a developer's: hardly any space in /dev/shm, as in a container, a Turkish locale, in which
# the lower case of I is not i, the time zone of Kathmandu, and huge pages wherever there are some. Sourced by tools/test.sh.

odd_machine_tests() {
  local log=$LOGS/odd-machine.log out=$SERVER_DIR/odd_machine status=0
  local run=(as_server) shm='mount -t tmpfs -o size=3m tmpfs /dev/shm'
  as_server mkdir -p "$out"
  # Its warnings about the locale's definition are nobody's business here.
  localedef -i tr_TR -f UTF-8 "$SERVER_DIR/tr_TR.UTF-8" >"$log" 2>&1 || [[ -f $SERVER_DIR/tr_TR.UTF-8/LC_CTYPE ]] || status=$?
  cat "$SERVER_DIR/test/regress.conf" "$SERVER_DIR/test/odd_machine.conf" >"$out/odd_machine.conf"
  if [[ $EUID == 0 ]] && unshare --mount bash -c "$shm" 2>/dev/null; then
    run=(unshare --mount bash -c "$shm"' && cd "$0" && exec runuser -u postgres -- "$@"' "$SERVER_DIR")
  fi
  ((status)) || "${run[@]}" timeout -k 60 3600 env LOCPATH="$SERVER_DIR" LC_ALL=tr_TR.UTF-8 LANG=tr_TR.UTF-8 \
    "$PGXS_TEST/regress/pg_regress" --bindir="$PGBIN" --inputdir="$SERVER_DIR" --outputdir="$out" \
    --temp-instance="$out/tmp_check" --temp-config="$out/odd_machine.conf" --encoding=UTF8 --load-extension=vecckpt \
    "$@" >>"$log" 2>&1 || status=$?
  local details=$out/regression.diffs
  [[ -s $details ]] || details=$out/log/postmaster.log
  group_of_regress "odd machine" "$status" "$log" "$details"
}
