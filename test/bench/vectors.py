"""Vector files, and what the benchmark makes of them: COPY streams, blends to insert, recall against the true neighbours.

Files start with uint32 rows and uint32 dimensions, little-endian; then the values: u8bin, f16bin or fbin.
"""

import array
import glob
import math
import os
import re
import struct
import subprocess

TYPES = {"u8bin": ("B", 1), "f16bin": ("e", 2), "fbin": ("f", 4)}


class VectorFile:
    def __init__(self, path):
        self.path = path
        self.code, self.width = TYPES[path.rsplit(".", 1)[1]]
        with open(path, "rb") as file:
            self.rows, self.dims = struct.unpack("<2I", file.read(8))

    def read(self, first, count):
        """Yields tuples of numbers."""
        size = self.dims * self.width
        unpack = struct.Struct(f"<{self.dims}{self.code}").unpack
        with open(self.path, "rb") as file:
            file.seek(8 + first * size)
            for _ in range(min(count, self.rows - first)):
                yield unpack(file.read(size))


class DataSet:
    """NAME.base.* and NAME.query.* of a folder, cut to a number of rows."""

    def __init__(self, base_path, max_rows):
        self.base = VectorFile(base_path)
        stem = base_path[: base_path.rindex(".base.")]
        self.query = VectorFile(glob.glob(glob.escape(stem) + ".query.*bin")[0])
        self.label = os.path.basename(stem)
        self.name = re.sub(r"[^a-z0-9]+", "_", self.label.lower()).strip("_")
        self.rows = min(self.base.rows, max_rows or self.base.rows)
        self.dims = self.base.dims
        # Unit vectors are embeddings, which are compared by angle.
        lengths = [math.sqrt(sum(x * x for x in row)) for row in self.base.read(0, 100)]
        self.metric = "cosine" if all(abs(length - 1) < 0.01 for length in lengths) else "l2"
        self.operator = {"cosine": "<=>", "l2": "<->"}[self.metric]

    def blends(self, count):
        """Vectors that lie between stored ones: new rows that look like the data and are not copies of it."""
        first = self.base.read(0, count)
        second = self.base.read(self.rows // 2, count)
        for left, right in zip(first, second):
            yield [0.6 * x + 0.4 * y for x, y in zip(left, right)]

    def find_truth(self, program, k, path):
        """The k nearest rows of each query: ids and distances."""
        subprocess.run([program, "truth", self.base.path, self.query.path, str(self.rows), self.metric, str(k), path],
                       check=True)
        with open(path, "rb") as file:
            queries, k = struct.unpack("<2I", file.read(8))
            ids = array.array("i", file.read(4 * queries * k))
            distances = array.array("f", file.read(4 * queries * k))
        self.truth = []
        for q in range(queries):
            self.truth.append((ids[q * k:(q + 1) * k].tolist(), distances[q * k:(q + 1) * k].tolist()))

    def recall(self, found, k):
        """found: query number (from 0) -> ids. A row as near as the k-th true neighbour counts as found."""
        hits = 0
        for query, (ids, distances) in enumerate(self.truth):
            limit = distances[min(k, len(distances)) - 1]
            near = {row for row, distance in zip(ids, distances) if distance <= limit}
            hits += min(len(near.intersection(found.get(query, ()))), k)
        return hits / (k * len(self.truth))


def find_sets(folder, max_rows):
    """max_rows: function from dimensions to a number of rows, or None for all."""
    sets = []
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "*.base.*bin"))):
        if path.rsplit(".", 1)[1] in TYPES:
            sets.append(DataSet(path, max_rows(VectorFile(path).dims)))
    return sets


def write_copy_file(path, first_id, rows):
    """A file for COPY ... (FORMAT binary) of a table (id integer, v real[]). Returns the number of rows."""
    count = 0
    with open(path, "wb") as file:
        file.write(b"PGCOPY\n\xff\r\n\0" + struct.pack(">II", 0, 0))
        for row in rows:
            dims = len(row)
            # Each element is its size and its value, both big-endian.
            elements = array.array("f", [0.0]) * (2 * dims)
            elements[1::2] = array.array("f", row)
            elements.byteswap()
            sized = array.array("I", elements.tobytes())
            sized[0::2] = array.array("I", struct.pack(">I", 4)) * dims
            file.write(struct.pack(">hiii", 2, 4, first_id + count, 20 + 8 * dims))
            file.write(struct.pack(">iiiii", 1, 0, 700, dims, 1))
            file.write(sized.tobytes())
            count += 1
        file.write(struct.pack(">h", -1))
    return count
