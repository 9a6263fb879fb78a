#!/usr/bin/env bash
# What a vhnsw index takes: bytes of its log and of its segments, WAL of an insert, memory and processor time of a build.
# Writes a table in Markdown; doc/capacity.md quotes it, and test/t/087_capacity.pl checks the formulas it is compared with.
#
#   test/bench/capacity.sh [-n ENTRIES] [-t THREADS] [-r VECTORS.u8bin] >test/bench/capacity.md
#
# Runs a private server of PG_CONFIG with the installed extension, in a folder that is removed afterwards. -n: rows of each
# table (20000). -r: also builds graphs over 1/4, 1/2 and all of the vectors of a file (4 bytes rows, 4 bytes dimensions, then a byte a
# dimension), for the processor time. Bytes depend on the numbers only. Times are processor seconds of the building process,
# all threads together, so that a busy machine matters less.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
source "$ROOT/tools/common.sh"

ENTRIES=20000 THREADS=2 VECTORS=
while getopts n:t:r: option; do
  case $option in
    n) ENTRIES=$OPTARG ;;
    t) THREADS=$OPTARG ;;
    r) VECTORS=$OPTARG ;;
    *) exit 2 ;;
  esac
done
find_postgres || die "PG_CONFIG names no PostgreSQL with its development files"

SERVER_DIR=$(mktemp -d /var/tmp/vecckpt.XXXXXX)
[[ $EUID != 0 ]] || chown postgres: "$SERVER_DIR"
DATA=$SERVER_DIR/data
finish() {
  as_server "$PGBIN/pg_ctl" -D "$DATA" -m immediate -s stop || true
  rm -rf "$SERVER_DIR"
}
trap finish EXIT

as_server "$PGBIN/initdb" -D "$DATA" -U postgres --auth=trust --locale=C --encoding=UTF8 --no-sync >/dev/null
as_server tee -a "$DATA/postgresql.conf" >/dev/null <<END
shared_preload_libraries = 'vecckpt'
listen_addresses = ''
unix_socket_directories = '$SERVER_DIR'
port = $PORT
fsync = off
autovacuum = off
jit = off
wal_level = replica
max_wal_size = 8GB
checkpoint_timeout = 1d
shared_buffers = 256MB
maintenance_work_mem = 2GB
vecckpt.build_threads = $THREADS
END
as_server "$PGBIN/pg_ctl" -D "$DATA" -l "$SERVER_DIR/log" -w -t 300 -s start

PSQL=("$PGBIN/psql" -X -q -v ON_ERROR_STOP=1 -h "$SERVER_DIR" -p "$PORT" -U postgres -At)
sql() { "${PSQL[@]}" -c "$1"; }
sql 'CREATE EXTENSION vecckpt' >/dev/null
sql 'CREATE FUNCTION random_vector(dims int) RETURNS real[] LANGUAGE sql VOLATILE
     AS $$ SELECT array_agg((random() + random() + random() - 1.5)::real) FROM generate_series(1, dims) $$'

# Shared memory, in MB, with this many indexes; while the server is stopped.
shared_memory() { as_server "$PGBIN/postgres" -C shared_memory_size -D "$DATA" -c vecckpt.max_indexes="$1"; }
as_server "$PGBIN/pg_ctl" -D "$DATA" -m fast -s stop
shared=$(awk -v a="$(shared_memory 1000)" -v b="$(shared_memory 201000)" 'BEGIN { printf "%.0f", (b - a) * 1048576 / 200000 }')
as_server "$PGBIN/pg_ctl" -D "$DATA" -l "$SERVER_DIR/log" -w -t 300 -s start

# A backend, as a coprocess; `pid` is its process.
start_session() {
  coproc SESSION { exec "${PSQL[@]}"; }
  IN=${SESSION[1]} OUT=${SESSION[0]}
  printf 'SELECT pg_backend_pid();\n' >&"$IN"
  read -r pid <&"$OUT"
}
end_session() {
  printf '\\q\n' >&"$IN"
  wait "$SESSION_PID"
}

clock_ticks=$(getconf CLK_TCK)
# Processor seconds of a process and its threads.
cpu_of() { awk -v hz="$clock_ticks" '{ sub(/.*\) /, ""); print ($12 + $13) / hz }' "/proc/$1/stat"; }
anonymous_of() { awk '/^RssAnon/ { print $2 * 1024 }' "/proc/$1/status"; }

# build INDEX STATEMENT: runs a CREATE INDEX in a backend of its own; sets `cpu` (seconds), `peak` (bytes that its own memory grew).
build() {
  local before start now
  start_session
  before=$(anonymous_of "$pid")
  start=$(cpu_of "$pid")
  peak=0
  printf '%s;\nSELECT 1;\n' "$1" >&"$IN"
  while ! read -r -t 0.02 _ <&"$OUT"; do
    now=$(anonymous_of "$pid")
    ((now - before <= peak)) || peak=$((now - before))
  done
  cpu=$(awk -v a="$start" -v b="$(cpu_of "$pid")" 'BEGIN { print b - a }')
  end_session
}

per() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.1f", a / b }'; }

cat <<END
# What an index takes: measured

Made by test/bench/capacity.sh: $(date -u +%F), PostgreSQL $(sql 'SHOW server_version'), $(nproc) cores of \
$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1). m = 16, ef_construction = 64, $THREADS threads.

Shared memory of each index that vecckpt.max_indexes allows: $shared bytes.

## Bytes of an entry, $ENTRIES random vectors, after CREATE INDEX

| dims | quantization | log | formula | segment | formula |
|---|---|---|---|---|---|
END

for dims in 16 128 384 768 1536 3072; do
  rows=$ENTRIES
  ((dims <= 768 || rows <= 5000)) || rows=5000
  sql "CREATE TABLE t (id int, v real[]); ALTER TABLE t ALTER v SET STORAGE EXTERNAL;
       INSERT INTO t SELECT i, random_vector($dims + (i * 0)) FROM generate_series(1, $rows) i"
  for kind in sq8 sq4 none; do
    sql "CREATE INDEX t_v ON t USING vhnsw (v) WITH (quantization = $kind)"
    read -r log files nodes < <(sql "SELECT pg_relation_size('t_v'), sum(bytes), sum(nodes) FROM vec_segments WHERE index = 't_v'::regclass" | tr '|' ' ')
    slots=$((1048576 / (4 * dims)))
    ((slots <= 676)) || slots=676
    ((slots >= 16)) || slots=16
    pages=$((1 + (slots * 4 * dims + 8159) / 8160))
    case $kind in
      none) code=$((4 * dims)) ;;
      sq8) code=$((dims + 24)) ;;
      sq4) code=$(((dims + 1) / 2 + 24)) ;;
    esac
    code=$(((code + 63) / 64 * 64))
    printf '| %s | %s | %s | %s | %s | %s |\n' "$dims" "$kind" "$(per "$log" "$rows")" "$(per $((8192 * pages)) "$slots")" \
      "$(per "$files" "$rows")" "$(awk -v c="$code" -v m=16 'BEGIN { printf "%.1f", c + 8 * m + 12 + (4 * m + 8) / (m - 1) }')"
    ((nodes == rows)) || printf 'of %s rows %s have codes of their own\n' "$rows" "$nodes" >&2
    sql 'DROP INDEX t_v'
  done
  sql 'DROP TABLE t'
done

cat <<END

## WAL of an insert, one row a transaction

| dims | index's part, no full page images | with them, 2,000 inserts after a checkpoint | the table alone |
|---|---|---|---|
END
# wal_of TABLE: WAL of 2,000 single-row inserts behind a checkpoint, without and with full page images.
wal_of() {
  local fpw from
  for fpw in off on; do
    sql "ALTER SYSTEM SET full_page_writes = $fpw" && sql 'SELECT pg_reload_conf()' >/dev/null
    until [[ $(sql 'SHOW full_page_writes') == "$fpw" ]]; do sleep 0.1; done
    sql 'CHECKPOINT'
    from=$(sql 'SELECT pg_current_wal_insert_lsn()')
    sql "DO \$\$ DECLARE x record; BEGIN FOR x IN SELECT id, v FROM source LOOP INSERT INTO $1 VALUES (x.id, x.v); COMMIT; END LOOP; END \$\$"
    sql "SELECT (pg_current_wal_insert_lsn() - '$from')::bigint"
  done
}
sql "ALTER SYSTEM SET vecckpt.builder = off" && sql 'SELECT pg_reload_conf()' >/dev/null
for dims in 128 384 768 1536; do
  sql "CREATE TABLE source AS SELECT i AS id, random_vector($dims + (i * 0)) AS v FROM generate_series(1, 2000) i;
       CREATE TABLE plain (id int, v real[]); CREATE TABLE indexed (id int, v real[]);
       ALTER TABLE plain ALTER v SET STORAGE EXTERNAL; ALTER TABLE indexed ALTER v SET STORAGE EXTERNAL;
       INSERT INTO plain SELECT * FROM source LIMIT 500; INSERT INTO indexed SELECT * FROM source LIMIT 500;
       CREATE INDEX ON indexed USING vhnsw (v)"
  { read -r without && read -r with; } < <(wal_of indexed)
  { read -r plain && read -r plain_with; } < <(wal_of plain)
  printf '| %s | %s | %s | %s, %s |\n' "$dims" "$(per $((without - plain)) 2000)" "$(per $((with - plain_with)) 2000)" \
    "$(per "$plain" 2000)" "$(per "$plain_with" 2000)"
  sql 'DROP TABLE source, plain, indexed'
done
sql "ALTER SYSTEM RESET ALL" && sql 'SELECT pg_reload_conf()' >/dev/null

[[ -n $VECTORS ]] || exit 0
cat <<END

## CREATE INDEX over the vectors of $(basename "$VECTORS")

| rows | dims | processor seconds | for each million | own memory | bytes a node | formula |
|---|---|---|---|---|---|---|
END
read -r rows dims < <(od -An -t u4 -N 8 "$VECTORS")
sql 'CREATE TABLE t (id int, v real[]); ALTER TABLE t ALTER v SET STORAGE EXTERNAL'
tail -c +9 "$VECTORS" | od -An -v -t u1 -w"$dims" |
  awk '{ $1 = $1; gsub(/ /, ","); print NR "\t{" $0 "}" }' | sql '\copy t FROM pstdin'
for part in 4 2 1; do
  count=$((rows / part))
  # As GraphJobMemory: links of level 0 and above in whole cache lines, tables, 2 MB for a thread and 4 more; and a copy of the
  # codes, for which there is room here.
  formula=$((count * (64 * ((1 + 48 + 15) / 16) + (64 * ((1 + 24 + 15) / 16) + 16) / 15 + 1 + 15 + THREADS + 1 + 32 + (dims + 24 + 63) / 64 * 64) +
    (THREADS + 4) * 2097152))
  build "CREATE INDEX t_v ON t USING vhnsw (v) WHERE id <= $count"
  printf '| %s | %s | %s | %s | %s MB | %s | %s |\n' "$count" "$dims" "$cpu" "$(per "$(awk -v c="$cpu" 'BEGIN { print c * 1000000 }')" "$count")" \
    "$((peak / 1048576))" "$(per "$peak" "$count")" "$(per "$formula" "$count")"
  sql 'DROP INDEX t_v'
done
