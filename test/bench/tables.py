"""The tables of the comparison. A kind is what a table's vectors are indexed with: "ours" (vhnsw on real[]), "theirs"
(pgvector's hnsw on vector) or "none". Tables are called SET_KIND, or SET_KIND_default with the type's own storage; queries
and rows to insert come from SET_query_KIND and SET_stream_KIND."""

import os
import time

from server import MemoryWatch, query, value
from vectors import write_copy_file

KINDS = ("ours", "theirs")
FIRST_INSERTED_ID = 100_000_000
# The planner must not leave the index, and a LATERAL join must search for every query.
SESSION = {"enable_seqscan": "off", "enable_memoize": "off"}


def ef_setting(kind):
    return {"ours": "vhnsw.ef_search", "theirs": "hnsw.ef_search"}[kind]


def session(kind, ef):
    return dict(SESSION, **{ef_setting(kind): ef})


def table(data, kind, storage="plain"):
    return f"{data.name}_{kind}" + ("_default" if storage == "default" else "")


def source(data, what, kind):
    """Where vectors of the kind's type come from; what: query or stream."""
    return f"{data.name}_{what}_" + ("theirs" if kind == "theirs" else "ours")


def column_type(data, kind):
    return f"vector({data.dims})" if kind == "theirs" else "real[]"


def has_default_storage(data):
    """Rows below 2 kB are never moved out of line: default storage is then the same as PLAIN."""
    return data.dims * 4 > 2000


def fits_plain(data):
    return data.dims * 4 < 7900


def load(connection, data, work, storages, inserts):
    path = os.path.join(work, "copy.bin")
    for what, rows in (("query", data.query.read(0, data.query.rows)), ("stream", data.blends(inserts))):
        write_copy_file(path, 1, rows)
        for kind in KINDS:
            create(connection, data, source(data, what, kind), kind, "plain", path, source(data, what, "ours"))
            query(connection, f"ALTER TABLE {source(data, what, kind)} ADD PRIMARY KEY (id)")
    query(connection, f"CREATE SEQUENCE {data.name}_next")
    write_copy_file(path, 0, data.base.read(0, data.rows))
    for storage in storages:
        for kind in KINDS + (("none",) if storage == "plain" else ()):
            create(connection, data, table(data, kind, storage), kind, storage, path, table(data, "ours", storage))
    os.remove(path)
    query(connection, "VACUUM ANALYZE")


def create(connection, data, name, kind, storage, path, ours):
    """A table of a kind, filled from a file for COPY, or from the table of our kind."""
    query(connection, f"CREATE TABLE {name} (id integer, v {column_type(data, kind)})")
    if storage == "plain" and fits_plain(data):
        query(connection, f"ALTER TABLE {name} ALTER v SET STORAGE plain")
    if kind == "theirs":
        query(connection, f"INSERT INTO {name} SELECT id, v FROM {ours}")
    else:
        query(connection, f"COPY {name} FROM '{path}' (FORMAT binary)")


def build(server, data, kind, storage, parameters):
    """CREATE INDEX in a fresh backend: seconds and peak memory."""
    options = f"m = {parameters.m}, ef_construction = {parameters.ef_construction}"
    if kind == "ours":
        method, operators = "vhnsw", {"l2": "real_l2_ops", "cosine": "real_cosine_ops"}
        options += f", {parameters.our_with}" if parameters.our_with else ""
    else:
        method, operators = "hnsw", {"l2": "vector_l2_ops", "cosine": "vector_cosine_ops"}
    name = table(data, kind, storage)
    connection = server.connect()
    query(connection, f"DROP INDEX IF EXISTS {name}_index")
    query(connection, "CHECKPOINT")
    with MemoryWatch(connection) as watch:
        start = time.monotonic()
        query(connection, f"CREATE INDEX {name}_index ON {name} USING {method} (v {operators[data.metric]}) "
                          f"WITH ({options})")
        seconds = time.monotonic() - start
    connection.close()
    return dict(watch.peak, seconds=round(seconds, 3))


def index_bytes(connection, data, kind):
    name = table(data, kind) + "_index"
    relation = value(connection, "SELECT pg_table_size(%s::regclass)", (name,))
    files = 0
    if kind == "ours":
        files = value(connection, "SELECT sum(file_bytes)::bigint FROM vec_indexes WHERE index = %s::regclass", (name,))
    return {"relation": relation, "files": int(files or 0), "total": relation + int(files or 0)}


def wait_for_builder(connection, seconds=60):
    """Until our builder has nothing to do for two looks in a row."""
    quiet, end = 0, time.monotonic() + seconds
    while quiet < 2 and time.monotonic() < end:
        time.sleep(0.25)
        busy = value(connection, "SELECT count(*) FROM vec_indexes WHERE state <> 'idle' OR tail_length >= 256")
        quiet = 0 if busy else quiet + 1
