# SQLsmith against a private server with vhnsw indexes: random statements over real[] columns, operators and functions, as
# a user who may also call vec_checkpoint and vec_index_check. They mostly fail; the server must not. SQLsmith never
# writes ORDER BY, so views and functions bring the searches. Sourced by tools/fuzz.sh.

SQLSMITH_MOST_QUERIES=1000000

# fuzz_sql SECONDS
fuzz_sql() {
  local log=$LOGS/sqlsmith.log seed=$RANDOM server_log psql status=0 queries scans findings broken wrong=""
  remove_server_dir sqlsmith
  make_server_dir sqlsmith
  server_log=$SERVER_DIR/server.log
  psql=("$PGBIN/psql" -X -q -At -v ON_ERROR_STOP=1 -h "$SERVER_DIR" -p "$PORT")
  as_server "$PGBIN/initdb" -D "$SERVER_DIR/data" -U postgres --auth=trust --encoding=UTF8 --locale=C --no-sync >/dev/null
  as_server tee -a "$SERVER_DIR/data/postgresql.conf" >/dev/null <<END
shared_preload_libraries = 'vecckpt'
listen_addresses = ''
unix_socket_directories = '$SERVER_DIR'
port = $PORT
log_min_messages = warning
END
  as_server "$PGBIN/pg_ctl" -D "$SERVER_DIR/data" -l "$server_log" -w -t 120 -s start
  "${psql[@]}" -U postgres -d postgres -c 'CREATE ROLE smith LOGIN IN ROLE pg_checkpoint' \
    -c 'CREATE DATABASE smith OWNER smith' -c "ALTER ROLE smith SET statement_timeout = '1s'" \
    -c 'ALTER ROLE smith SET enable_seqscan = off'
  "${psql[@]}" -U postgres -d smith -c 'CREATE EXTENSION vecckpt' -c 'GRANT CREATE ON SCHEMA public TO smith' \
    -c 'GRANT EXECUTE ON FUNCTION vec_index_check TO smith'
  PGOPTIONS='-c statement_timeout=0' "${psql[@]}" -U smith -d smith <<'END'
CREATE TABLE small (id int PRIMARY KEY, l2 real[], ip real[], cosine real[]);
CREATE TABLE large (id int PRIMARY KEY, v real[], w real[]);
INSERT INTO small SELECT i, ARRAY[i, 1, 2], ARRAY[sin(i), cos(i)], ARRAY[1, i % 7, i] FROM generate_series(1, 300) i;
INSERT INTO large SELECT i, (SELECT array_agg(sin(i * j)::real) FROM generate_series(1, 12) j), ARRAY[i % 10, i / 10, i]
FROM generate_series(1, 6000) i;
CREATE INDEX ON small USING vhnsw (l2 real_l2_ops);
CREATE INDEX ON small USING vhnsw (ip real_ip_ops);
CREATE INDEX ON small USING vhnsw (cosine real_cosine_ops);
CREATE INDEX ON large USING vhnsw (v real_cosine_ops);
CREATE INDEX ON large USING vhnsw (v real_l2_ops) WITH (quantization = sq4);
CREATE INDEX ON large USING vhnsw (w real_l1_ops);
CREATE VIEW near AS SELECT id, l2, l2 <-> '{7,1,2}' AS distance FROM small ORDER BY l2 <-> '{7,1,2}' LIMIT 20;
CREATE VIEW near_all AS SELECT id, cosine FROM small ORDER BY cosine <=> '{1,1,1}';
CREATE VIEW near_each AS SELECT s.id, l.id AS other, l.w FROM small s,
    LATERAL (SELECT id, w FROM large ORDER BY w <+> s.l2 LIMIT 3) l WHERE s.id < 20;
CREATE FUNCTION nearest(real[]) RETURNS int STABLE LANGUAGE sql AS 'SELECT id FROM large ORDER BY v <=> $1 LIMIT 1';
CREATE FUNCTION nearest_l2(real[]) RETURNS int STABLE LANGUAGE sql AS 'SELECT id FROM large ORDER BY v <-> $1 LIMIT 1';
CREATE FUNCTION nearest_of_small(real[]) RETURNS int STABLE LANGUAGE sql AS 'SELECT id FROM small ORDER BY ip <#> $1 LIMIT 1';
END
  as_server timeout -k 10 "$1" sqlsmith --target="host=$SERVER_DIR port=$PORT dbname=smith user=smith" \
    --seed="$seed" --exclude-catalog --max-queries="$SQLSMITH_MOST_QUERIES" --verbose >"$log" 2>&1 || status=$?
  # 124: it was stopped when its time was over.
  [[ $status == 0 || $status == 124 ]] || wrong="SQLsmith ended with $status"
  queries=$("${psql[@]}" -U postgres -d postgres -c \
    "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'smith'" 2>/dev/null || true)
  scans=$("${psql[@]}" -U postgres -d smith -c \
    "SELECT sum(idx_scan) FROM pg_stat_user_indexes JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam
     WHERE amname = 'vhnsw'" 2>/dev/null || true)
  findings=$("${psql[@]}" -U postgres -d smith -c \
    'SELECT i.index, c.* FROM vec_indexes i, vec_index_check(i.index, true) c' 2>&1) || findings+=" vec_index_check failed"
  broken=$(grep -E 'PANIC|was terminated by signal|TRAP|terminating any other|internal error' "$server_log" || true)
  [[ -n $queries ]] || wrong="the server does not answer"
  [[ ${scans:-0} -gt 0 ]] || wrong="no index was searched"
  [[ -z $findings ]] || wrong=$findings
  [[ -z $broken ]] || wrong=$broken
  as_server "$PGBIN/pg_ctl" -D "$SERVER_DIR/data" -m fast -w -t 600 -s stop || wrong="the server does not stop"
  printf '%-32s %9s statements with %s searches, %s\n' sqlsmith "${queries:-0}" "${scans:-0}" \
    "${wrong:+FOUND with seed $seed: }${wrong:-nothing found}"
  if [[ -n $wrong ]]; then
    cp "$server_log" "$LOGS/sqlsmith-server.log"
    tail -n 20 "$log" "$server_log"
  fi
  remove_server_dir sqlsmith
  [[ -z $wrong ]]
}
