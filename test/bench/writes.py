"""Writing: single-row inserts, WAL, VACUUM."""

import time

import psycopg2

from server import percentiles, query, value
from tables import FIRST_INSERTED_ID, source, table, wait_for_builder


def insert_script(data, kind):
    """One row a transaction. The vector comes from a table, a new one each time."""
    return (f"INSERT INTO {table(data, kind)} SELECT {FIRST_INSERTED_ID} + id, v FROM {source(data, 'stream', kind)} "
            f"WHERE id = 1 + (SELECT nextval('{data.name}_next')) % (SELECT last FROM {data.name}_last);")


def prepare(server, connection, data):
    query(connection, f"CREATE TABLE {data.name}_last AS SELECT max(id) AS last FROM {source(data, 'stream', 'ours')}")
    # The first to write would also pay for new WAL files, which are then used again.
    server.pgbench(insert_script(data, "none"), 8, 3, {"synchronous_commit": "off"})
    remove_inserted(connection, data, "none")


def inserts(server, connection, data, kind, clients, synchronous, seconds):
    """A run of pgbench: rows a second, latency percentiles, WAL bytes a row."""
    query(connection, "CHECKPOINT")
    before = value(connection, "SELECT pg_current_wal_insert_lsn()")
    done = server.pgbench(insert_script(data, kind), clients, seconds,
                          {"synchronous_commit": "on" if synchronous else "off"}, log=True)
    wal = value(connection, "SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", (before,))
    return {"set": data.name, "kind": kind, "clients": clients, "synchronous_commit": synchronous,
            "rate": done["tps"], "rows": done["transactions"], "latency_ms": percentiles(done["latencies"]),
            "samples": done["latencies"][:: max(1, len(done["latencies"]) // 100)],
            "wal_bytes_per_row": round(float(wal) / max(1, done["transactions"]))}


def remove_inserted(connection, data, kind):
    """Back to the rows that were loaded, where that is cheap. pgvector's VACUUM is not: there the rows stay in the table."""
    if kind == "theirs":
        return
    query(connection, f"DELETE FROM {table(data, kind)} WHERE id >= {FIRST_INSERTED_ID}")
    query(connection, f"VACUUM {table(data, kind)}")
    if kind == "ours":
        wait_for_builder(connection)


def wal_without_page_images(server, connection, data, kind, seconds):
    """WAL bytes an inserted row with full_page_writes off: what does not depend on when the last checkpoint was."""
    set_full_page_writes(connection, "off")
    run = inserts(server, connection, data, kind, 1, False, seconds)
    set_full_page_writes(connection, "on")
    return run["wal_bytes_per_row"]


def set_full_page_writes(connection, setting):
    query(connection, f"ALTER SYSTEM SET full_page_writes = {setting}")
    query(connection, "SELECT pg_reload_conf()")
    time.sleep(0.3)


def vacuum(server, data, kind, digit, limit_seconds):
    """Deletes a tenth of the loaded rows and times VACUUM, which is given up after a time: seconds, and whether it ended."""
    connection = server.connect()
    name = table(data, kind)
    query(connection, f"DELETE FROM {name} WHERE id %% 10 = {digit} AND id < {FIRST_INSERTED_ID}", ())
    query(connection, "CHECKPOINT")
    query(connection, f"SET statement_timeout = '{limit_seconds}s'")
    start = time.monotonic()
    finished = True
    try:
        query(connection, f"VACUUM (INDEX_CLEANUP on) {name}")
    except psycopg2.errors.QueryCanceled:
        finished = False
    seconds = time.monotonic() - start
    connection.close()
    return {"set": data.name, "kind": kind, "seconds": round(seconds, 3), "finished": finished}
