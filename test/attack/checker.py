"""What an index answers, against the exact answer of a sequential scan in the same snapshot."""

import math

from session import Finding, Skip

# Between the order of our distances, summed in double, and pgvector's operators, summed in float32.
FLOAT32_NOISE = 1e-4
# Mean recall of LIMIT 10 at ef_search 100 below which there is a finding, once enough queries are counted. Narrow graphs
# and inner product have no floor worth the name.
RECALL_FLOOR = {"none": 0.85, "sq8": 0.85, "sq4": 0.80}
RECALL_ENOUGH = 100


class Recall:
    def __init__(self):
        self.sums = {}

    def add(self, kind, share):
        total, count = self.sums.get(kind, (0.0, 0))
        self.sums[kind] = (total + share, count + 1)

    def wrong(self):
        return [f"recall of {kind} is {total / count:.3f} in {count} queries" for kind, (total, count) in self.sums.items()
                if count >= RECALL_ENOUGH and total / count < RECALL_FLOOR[kind]]


class Checker:
    """Compares on one server. `context` is a text that says where in the plan this is."""

    def __init__(self, session, random, recall, context):
        self.session = session
        self.random = random
        self.recall = recall
        self.context = context
        self.literal = None  # the query, in SQL

    def check(self, table, pause=None):
        """One snapshot, several comparisons. `pause` is called in the middle of a scan by cursor."""
        run = self.session.run
        try:
            self.index = self._index_oid(table)
            # The lock comes before the snapshot, so that nobody puts another file in the index's place between them.
            run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", f"LOCK TABLE {table.name} IN ACCESS SHARE MODE",
                f"SET LOCAL work_mem = '{self.random.choice(['64kB', '4MB'])}'")
            self._compare(table, pause)
            run("COMMIT")
        except Skip:
            self.session.close()
            raise
        except Finding as finding:
            finding.args = (f"{finding.args[0]}\n{self._look_further(table)}",)
            raise

    def _index_oid(self, table):
        """The index that plans of this moment use: OIDs by name are looked up in the newest state of the catalog."""
        names = self.session.run(f"SELECT relname FROM pg_index JOIN pg_class c ON c.oid = indexrelid "
                                 f"WHERE indrelid = '{table.name}'::regclass AND NOT indisprimary AND indisvalid")
        return [self.session.run(f"SELECT '{name}'::regclass::oid")[0][0] for name, in names]

    def _compare(self, table, pause):
        run = self.session.run
        self.query = run(f"SELECT {table.vector(self.random.randint(1, 2000))}")[0][0]
        if isinstance(self.query, list):
            self.query = "{" + ",".join(repr(x) for x in self.query) + "}"
        self.literal = f"'{self.query}'::{table.type}"
        self.snapshot = run("SELECT pg_current_snapshot()")[0][0]
        run("SET LOCAL enable_indexscan = off", "SET LOCAL enable_bitmapscan = off", "SET LOCAL enable_seqscan = on")
        rows = run(f"SELECT id, v {table.operator} {self.literal} FROM {table.name}")
        # The index has no NULLs, and under cosine no zero vectors, whose distance is NaN.
        self.exact = {row: distance for row, distance in rows if distance is not None and not math.isnan(distance)}
        if len(self.exact) < len([d for _, d in rows if d is not None]) and table.metric != "cosine":
            return  # distances that overflow are NaN
        if rows and not self.exact:
            return
        run("SET LOCAL enable_seqscan = off", "SET LOCAL enable_indexscan = on")
        if not self._uses_index(table):
            self.session.tally.add("snapshots without an index")
            return
        self._complete(table, pause)
        self._exhaustive(table)
        self._filtered(table)
        self._usual(table)

    def _sql(self, table, where="", limit=None):
        return (f"SELECT id, v {table.operator} {self.literal} FROM {table.name} {where} "
                f"ORDER BY v {table.operator} {self.literal}" + (f" LIMIT {limit}" if limit else ""))

    def _uses_index(self, table):
        plan = "\n".join(line for line, in self.session.run("EXPLAIN (COSTS OFF) " + self._sql(table)))
        return "Index Scan using" in plan and "Sort" not in plan

    def _set(self, **settings):
        self.session.run(*(f"SET LOCAL vhnsw.{name} = {value}" for name, value in settings.items()))
        self.settings = settings

    def _complete(self, table, pause):
        """Read to its end, a scan of whatever width returns every row once."""
        strict = self.random.random() < 0.5
        self._set(iterative_scan="strict_order" if strict else "relaxed_order",
                  ef_search=self.random.choice([1, 10, 40, 200, 10000]),
                  max_scan_tuples=self.random.choice([1, 100, 20000, 2147483647]),
                  scan_mem_multiplier=self.random.choice([1, 4, 1000]))
        sql = self._sql(table)
        if pause and self.random.random() < 0.5:
            self.session.run(f"DECLARE c NO SCROLL CURSOR FOR {sql}")
            rows = self.session.run(f"FETCH {self.random.randint(0, 50)} FROM c")
            pause()
            rows += self.session.run("FETCH ALL FROM c")
            self.session.run("CLOSE c")
        else:
            rows = self.session.run(sql)
        self._same_rows(table, rows, sql)
        if len(rows) != len(self.exact):
            missing = sorted(self.exact.keys() - {row for row, _ in rows})
            self._wrong(table, f"{len(missing)} of {len(self.exact)} rows are missing: {missing[:20]}", sql)
        if strict and self._descents(table, rows) > 1:
            self._wrong(table, "strict order descends more than once", sql)

    def _exhaustive(self, table):
        """Wider than the index, LIMIT k is the exact answer. Bounds of sq4 are statistical: there it counts as recall."""
        k = self.random.choice([1, 10, 100])
        self._set(iterative_scan="strict_order", ef_search=10000, max_scan_tuples=2147483647, scan_mem_multiplier=1000)
        sql = self._sql(table, limit=k)
        rows = self.session.run(sql)
        self._same_rows(table, rows, sql)
        truth = sorted(self.exact.values())[:k]
        if len(rows) != len(truth):
            self._wrong(table, f"{len(rows)} rows of {len(truth)}", sql)
        if table.quantization != "sq4" and self._nodes(table) < 9000:
            for (row, distance), right in zip(rows, truth):
                if distance > right + self._noise(table, right):
                    self._wrong(table, f"row {row} at {distance!r}, the exact distance there is {right!r}", sql)
            if self._descents(table, rows):
                self._wrong(table, "strict order descends", sql)

    def _nodes(self, table):
        entries = self.session.run(f"SELECT max(entries) FROM vec_indexes WHERE \"table\" = '{table.name}'::regclass")[0][0]
        return entries if entries is not None else 10000

    def _filtered(self, table):
        """A condition takes rows away, not the LIMIT."""
        self._set(iterative_scan=self.random.choice(["strict_order", "relaxed_order"]), ef_search=self.random.choice([1, 40]),
                  max_scan_tuples=self.random.choice([1, 20000]), scan_mem_multiplier=1)
        sql = self._sql(table, where="WHERE id % 7 = 3", limit=20)
        rows = self.session.run(sql)
        self._same_rows(table, rows, sql)
        right = min(20, sum(row % 7 == 3 for row in self.exact))
        if len(rows) != right:
            self._wrong(table, f"{len(rows)} rows of {right}", sql)

    def _usual(self, table):
        self._set(iterative_scan="strict_order", ef_search=100, max_scan_tuples=20000, scan_mem_multiplier=1)
        sql = self._sql(table, limit=10)
        rows = self.session.run(sql)
        self._same_rows(table, rows, sql)
        truth = sorted(self.exact.values())[:10]
        if truth and table.m >= 8 and table.ef_construction >= 20 and table.metric != "ip":
            bound = truth[-1] + self._noise(table, truth[-1])
            self.recall.add(table.quantization, sum(distance <= bound for _, distance in rows) / len(truth))

    def _same_rows(self, table, rows, sql):
        """Each row is one that the snapshot sees, with its distance, and comes once."""
        seen = set()
        for row, distance in rows:
            if row in seen:
                self._wrong(table, f"row {row} comes twice", sql)
            seen.add(row)
            if self.exact.get(row) != distance:
                self._wrong(table, f"row {row} at {distance!r}, by the sequential scan {self.exact.get(row)!r}", sql)
        self.session.tally.add("comparisons")

    def _descents(self, table, rows):
        return sum(b < a - self._noise(table, a) for (_, a), (_, b) in zip(rows, rows[1:]))

    @staticmethod
    def _noise(table, distance):
        return 0 if table.type == "real[]" else FLOAT32_NOISE * max(abs(distance), table.scale ** 2 * 1e-2)

    def _wrong(self, table, what, sql):
        # REINDEX and CREATE INDEX CONCURRENTLY do not wait for snapshots of standbys: PostgreSQL lets these see an index that
        # lacks rows deleted before it was built, of whatever access method.
        if self._index_oid(table) != self.index and self.session.run("SELECT pg_is_in_recovery()")[0][0]:
            self.session.tally.add("indexes exchanged under a snapshot of the standby")
            raise Skip("another index")
        settings = " ".join(f"SET vhnsw.{name} = {value};" for name, value in self.settings.items())
        shown = sql if len(sql) < 3000 else sql[:3000] + " ..."
        raise Finding(f"{self.context}: server {self.session.server.name}, snapshot {self.snapshot}, {table.describe()}\n"
                      f"{what}\nSET enable_seqscan = off; {settings}\n{shown}")

    def _look_further(self, table):
        """For the report: how many rows a full scan finds in this snapshot, and what the index says of itself."""
        of_table = f"indrelid = '{table.name}'::regclass"
        statements = [
            f"SELECT 'again', count(DISTINCT id), count(*) FROM ({self._sql(table)}) again" if self.literal else "SELECT 'no query'",
            f"SELECT i.* FROM vec_indexes i JOIN pg_index ON indexrelid = index WHERE {of_table}",
            f"SELECT s.* FROM vec_segments s JOIN pg_index ON indexrelid = index WHERE {of_table}",
            "COMMIT",
            f"SELECT c.* FROM vec_indexes i JOIN pg_index ON indexrelid = index, vec_index_check(index, true) c "
            f"WHERE {of_table} LIMIT 20"]
        lines = []
        for statement in statements:
            try:
                lines += [f"  {row}" for row in self.session.run(statement) or []]
            except (Skip, Finding) as error:
                lines.append(f"  {str(error)[:300]}")
        return "\n".join(lines)

    def index_check(self, table):
        """vec_index_check finds nothing, once what was damaged has been set aside or replaced."""
        rows = self.session.run(
            f"SELECT i.index::text, c.severity, c.place, c.message "
            f"FROM pg_index x JOIN vec_indexes i ON i.index = x.indexrelid, "
            f"LATERAL (SELECT * FROM vec_index_check(i.index, true)) c "
            f"WHERE x.indrelid = '{table.name}'::regclass AND x.indisvalid")
        self.session.tally.add("index checks")
        return rows
