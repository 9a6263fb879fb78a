"""What goes on beside the checks: writers of rows, and a client that changes and keeps tables and indexes."""

import time

from session import Skip


class Writer:
    """Changes rows of random tables: one transaction a step."""

    def __init__(self, session, random, tables):
        self.session = session
        self.random = random
        self.tables = tables
        self.prepared = 0

    def step(self):
        table = self.random.choice(self.tables)
        steps = [self.insert, self.insert, self.update, self.update, self.update_hot, self.delete, self.roll_back,
                 self.savepoints, self.prepare, self.resolve, self.duplicate, self.trim, self.long_transaction]
        try:
            self.random.choice(steps)(table)
            self.session.tally.add("write steps")
        except Skip:
            pass

    def _rows(self, table):
        """How many rows a statement changes: about as many values whatever the dimensions."""
        return self.random.randint(1, max(2, min(300, 20000 // table.dims)))

    def _seed(self):
        return self.random.randint(1, 10**6)

    def _insert(self, table, rows):
        # One row in 50 has no vector.
        vector = table.vector(f"{self._seed()} + i")
        return (f"INSERT INTO {table.name} SELECT nextval('ids'), i, CASE WHEN i % 50 = 7 THEN NULL ELSE {vector} END "
                f"FROM generate_series(1, {rows}) i")

    def _some(self, table, rows):
        return (f"(SELECT id FROM {table.name} ORDER BY hashint8extended(id, {self._seed()}) LIMIT {rows})")

    def insert(self, table):
        self.session.run(self._insert(table, self._rows(table)))

    def update(self, table):
        self.session.run(f"UPDATE {table.name} SET v = {table.vector(f'{self._seed()} + id')} "
                         f"WHERE id IN {self._some(table, self._rows(table))}")

    def update_hot(self, table):
        self.session.run(f"UPDATE {table.name} SET n = n + 1 WHERE id IN {self._some(table, 100)}")

    def delete(self, table):
        self.session.run(f"DELETE FROM {table.name} WHERE id IN {self._some(table, self._rows(table))}")

    def trim(self, table):
        """Back to the size it was made for, by a delete of one end, which frees whole extents."""
        order = self.random.choice(["id", "id DESC"])
        self.session.run(f"DELETE FROM {table.name} WHERE id IN (SELECT id FROM {table.name} ORDER BY {order} "
                         f"LIMIT (SELECT greatest(count(*) - {table.rows}, 0) FROM {table.name}))")

    def roll_back(self, table):
        self.session.run("BEGIN", self._insert(table, self._rows(table)), "ROLLBACK")

    def savepoints(self, table):
        end = self.random.choice(["COMMIT", "COMMIT", "ROLLBACK"])
        self.session.run("BEGIN", self._insert(table, 5), "SAVEPOINT a", self._insert(table, self._rows(table)),
                         f"UPDATE {table.name} SET v = {table.vector('id')} WHERE id IN {self._some(table, 3)}",
                         "ROLLBACK TO a", self._insert(table, 3), end)

    def prepare(self, table):
        self.prepared += 1
        name = f"p{self.random.randint(1, 10**9)}"
        self.session.run("BEGIN", self._insert(table, self._rows(table)), f"PREPARE TRANSACTION '{name}'")

    def resolve(self, _):
        for name, in self.session.run("SELECT gid FROM pg_prepared_xacts ORDER BY prepared LIMIT 2"):
            self.session.run(f"{self.random.choice(['COMMIT', 'ROLLBACK'])} PREPARED '{name}'")

    def duplicate(self, table):
        self.session.run(f"INSERT INTO {table.name} SELECT nextval('ids'), n, v FROM {table.name} "
                         f"ORDER BY hashint8extended(id, {self._seed()}) LIMIT {self._rows(table)}")

    def long_transaction(self, table):
        self.session.run("BEGIN", self._insert(table, self._rows(table)))
        time.sleep(self.random.random())
        self.session.run(self.random.choice(["COMMIT", "ROLLBACK"]))


class Keeper:
    """Definitions, moves and maintenance; the only client that changes definitions."""

    def __init__(self, session, random, tables):
        self.session = session
        self.random = random
        self.tables = tables

    def step(self):
        table = self.random.choice(self.tables)
        steps = [self.vacuum, self.vacuum, self.vacuum, self.checkpoint, self.vec_checkpoint, self.reindex,
                 self.reindex_concurrently, self.create_concurrently, self.drop_and_create, self.cluster, self.vacuum_full,
                 self.truncate, self.move_table, self.move_index, self.alter_index, self.rename, self.prewarm,
                 self.rolled_back_change]
        step = self.random.choice(steps)
        try:
            step(table)
            self.session.tally.add("keeping steps")
        except Skip:
            pass

    def _index(self, table):
        rows = self.session.run(f"SELECT c.relname FROM pg_index JOIN pg_class c ON c.oid = indexrelid "
                                f"JOIN pg_am a ON a.oid = relam WHERE indrelid = '{table.name}'::regclass "
                                f"AND amname = 'vhnsw' AND indisvalid LIMIT 1")
        if not rows:
            raise Skip("no index")
        return rows[0][0]

    def _space(self):
        return self.random.choice(["here", "there", "pg_default"])

    def mend(self, table):
        """Takes away what cancelled or killed commands have left invalid; there is an index afterwards."""
        for name, in self.session.run(f"SELECT indexrelid::regclass::text FROM pg_index "
                                      f"WHERE indrelid = '{table.name}'::regclass AND NOT indisvalid"):
            self.session.run(f"DROP INDEX {name}")
        try:
            self._index(table)
        except Skip:
            self.session.run(table.index_definition())

    def vacuum(self, table):
        self.session.run(f"VACUUM (INDEX_CLEANUP {self.random.choice(['ON', 'AUTO'])}) {table.name}")

    def checkpoint(self, _):
        self.session.run("CHECKPOINT")

    def vec_checkpoint(self, table):
        self.session.run(self.random.choice(["SELECT vec_checkpoint()", f"SELECT vec_checkpoint('{self._index(table)}')"]))

    def reindex(self, table):
        self.session.run(self.random.choice([f"REINDEX INDEX {self._index(table)}", f"REINDEX TABLE {table.name}"]))

    def reindex_concurrently(self, table):
        self.session.run(f"REINDEX INDEX CONCURRENTLY {self._index(table)}")
        self.mend(table)

    def create_concurrently(self, table):
        old = self._index(table)
        try:
            self.session.run(table.index_definition("CONCURRENTLY"), f"DROP INDEX CONCURRENTLY {old}")
        finally:
            self.mend(table)

    def drop_and_create(self, table):
        table.m = self.random.choice([2, 4, 16, 60, 100])
        table.quantization = self.random.choice(["none", "sq8", "sq4"])
        self.session.run(f"DROP INDEX {self._index(table)}", table.index_definition())

    def cluster(self, table):
        self.session.run(f"CLUSTER {table.name} USING {table.name}_pkey")

    def vacuum_full(self, table):
        self.session.run(f"VACUUM FULL {table.name}")

    def truncate(self, table):
        if self.random.random() < 0.5:
            raise Skip("not so often")
        fill = (f"INSERT INTO {table.name} SELECT nextval('ids'), i, {table.vector('i')} "
                f"FROM generate_series(1, {table.rows // 2}) i")
        self.session.run("BEGIN", f"TRUNCATE {table.name}", fill, self.random.choice(["COMMIT", "ROLLBACK"]))

    def move_table(self, table):
        self.session.run(f"ALTER TABLE {table.name} SET TABLESPACE {self._space()}")

    def move_index(self, table):
        self.session.run(f"ALTER INDEX {self._index(table)} SET TABLESPACE {self._space()}")

    def alter_index(self, table):
        self.session.run(f"ALTER INDEX {self._index(table)} SET (m = {self.random.choice([2, 8, 30])})")
        if self.random.random() < 0.5:
            self.session.run(f"ALTER INDEX {self._index(table)} RESET (m)")

    def rename(self, table):
        self.session.run(f"ALTER INDEX {self._index(table)} RENAME TO {table.name}_{self.random.randint(1, 10**6)}")

    def prewarm(self, table):
        mode = self.random.choice(["none", "prefetch", "buffer"])
        self.session.run(f"SELECT * FROM vec_prewarm('{self._index(table)}', '{mode}')")

    def rolled_back_change(self, table):
        """Files of the transaction's own, which nobody is to find afterwards."""
        change = self.random.choice([f"REINDEX INDEX {self._index(table)}", f"TRUNCATE {table.name}",
                                     f"CLUSTER {table.name} USING {table.name}_pkey",
                                     f"ALTER TABLE {table.name} ALTER n TYPE {self.random.choice(['bigint', 'int'])}"])
        insert = f"INSERT INTO {table.name} SELECT nextval('ids'), i, {table.vector('i')} FROM generate_series(1, 20) i"
        self.session.run("BEGIN", insert, change, insert, self.random.choice(["ROLLBACK", "ROLLBACK", "COMMIT"]))
