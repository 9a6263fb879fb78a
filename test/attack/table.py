"""Tables under attack: how one is made at random, and vectors that a seed names."""

METRICS = {"l2": "<->", "ip": "<#>", "cosine": "<=>", "l1": "<+>"}

# Vectors of a seed: random, clustered, of few distinct values (ties), one of few (duplicates), zero.
SQL_FUNCTION = """
CREATE FUNCTION attack_vector(seed bigint, dims int, scale real) RETURNS real[] IMMUTABLE LANGUAGE sql AS $$
SELECT array_agg(CASE
    WHEN seed % 97 = 0 THEN 0
    WHEN seed % 10 = 0 THEN scale * (hashint8extended(i, seed) & 3)::real
    WHEN seed % 10 = 1 THEN scale * ((hashint8extended(i, seed % 40) & 65535) / 32768.0 - 1)::real
    WHEN seed % 10 < 6 THEN scale * ((hashint8extended(i, seed % 7) & 65535) / 32768.0 - 1
                                     + (hashint8extended(i, seed) & 65535) / 327680.0)::real
    ELSE scale * ((hashint8extended(i, seed) & 65535) / 32768.0 - 1)::real END ORDER BY i)
FROM generate_series(1, dims) i $$
"""


class Table:
    def __init__(self, random, number, setup):
        self.name = f"t{number}"
        self.type = random.choice(["real[]"] * (1 if setup.pgvector else 3) + ["vector", "halfvec"] * setup.pgvector)
        self.metric = random.choice(list(METRICS))
        self.operator = METRICS[self.metric]
        most = 2000 if random.random() < 0.3 else 160
        self.dims = random.choice([1, 2, 3, 8, 9, random.randint(1, most), random.randint(1, most)])
        # Many rows where they are short: only from 4,096 entries on there are graphs.
        self.rows = min(7000, max(200, 150000 // self.dims)) if random.random() < 0.6 else random.randint(1, 600)
        self.scale = random.choice([1.0, 1.0, 1e-3, 30.0] + [1e12, 1e-12] * (self.type != "halfvec"))
        self.m = random.choice([2, 4, 8, 16, 16, 40, 100])
        self.ef_construction = random.choice([4, 20, 64, 100])
        self.quantization = random.choice(["none", "sq8", "sq4"])
        self.fillfactor = random.choice([30, 90, 100])
        self.storage = random.choice(["external", "extended", "main"])

    def describe(self):
        return (f"{self.name}: {self.type} of {self.dims} dimensions, {self.metric}, {self.rows} rows, scale {self.scale}, "
                f"m {self.m}, ef_construction {self.ef_construction}, {self.quantization}")

    def vector(self, seed):
        """SQL for the vector of a seed, an expression over columns or a number."""
        cast = "" if self.type == "real[]" else f"::{self.type}"
        return f"attack_vector({seed}, {self.dims}, {self.scale}::real){cast}"

    def column_type(self):
        return self.type if self.type == "real[]" else f"{self.type}({self.dims})"

    def operator_class(self):
        return f"{self.type.replace('[]', '')}_{self.metric}_ops"

    def index_definition(self, concurrently="", name=""):
        return (f"CREATE INDEX {concurrently} {name} ON {self.name} USING vhnsw (v {self.operator_class()}) "
                f"WITH (m = {self.m}, ef_construction = {self.ef_construction}, quantization = {self.quantization})")

    def create(self):
        """Statements; half of the rows are there before the index."""
        half = self.rows // 2
        insert = f"INSERT INTO {self.name} SELECT i, i, {self.vector('i')} FROM generate_series"
        return [
            f"DROP TABLE IF EXISTS {self.name}",
            f"CREATE TABLE {self.name} (id bigint PRIMARY KEY, n int, v {self.column_type()}) "
            f"WITH (fillfactor = {self.fillfactor}, autovacuum_enabled = off)",
            f"ALTER TABLE {self.name} ALTER v SET STORAGE {self.storage}",
            f"CREATE SEQUENCE IF NOT EXISTS ids START 100000",
            f"{insert}(1, {half}) i",
            self.index_definition(name=f"{self.name}_v"),
            f"{insert}({half + 1}, {self.rows}) i",
        ]
