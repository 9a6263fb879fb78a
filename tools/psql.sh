# ./run psql: psql on the demo's server.
find_postgres && find_server_dir demo && [[ -f $SERVER_DIR/data/postmaster.pid ]] ||
  die "no server is running; start one with ./run demo"
exec "$PGBIN/psql" -h "$SERVER_DIR" -p "$PORT" -U postgres -d demo "$@"
