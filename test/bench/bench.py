"""Measures vecckpt and pgvector side by side in one private server; run by ./run bench inside an installation of its own.
Phases, for each set of vectors: load, build, search, insert, vacuum, start; then a report."""

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import traceback

import psycopg2

import report
import searches
import tables
import writes
from server import Server, percentiles, query, value
from vectors import find_sets

PHASES = ("default", "raw", "insert", "vacuum", "start")


def parse():
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS)
    for name in ("--vectors", "--work", "--raw"):
        parser.add_argument(name, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--our-with", default="", metavar="OPTIONS",
                        help="more options for our index, as in WITH (...): \"quantization = 'none'\"")
    parser.add_argument("--sets", default="", metavar="A,B", help="only these sets of vectors")
    parser.add_argument("--skip", default="", metavar="A,B", help="leave out: " + " ".join(PHASES))
    parser.add_argument("--efs", default="", metavar="N,N", help="values of ef_search instead of 10 to 1,000")
    parser.add_argument("--rows", type=int, metavar="N", help="only so many rows of each set")
    parser.add_argument("--repeat", type=int, metavar="N", help="repetitions, medians count (3)")
    parser.add_argument("--build-repeat", type=int, metavar="N", help="repetitions of CREATE INDEX (as --repeat)")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of each timed run (2)")
    parser.add_argument("--vacuum-limit", type=int, metavar="S", help="give VACUUM up after so many seconds (120)")
    parser.add_argument("--m", type=int, default=16, help="links of a node (16)")
    parser.add_argument("--ef-construction", type=int, default=64, help="(64)")
    parameters = parser.parse_args()
    quick = {"repeat": 1, "build_repeat": 1, "seconds": 0.5, "vacuum_limit": 15}
    full = {"repeat": 3, "build_repeat": parameters.repeat or 3, "seconds": 2.0, "vacuum_limit": 120}
    for name, default in (quick if parameters.quick else full).items():
        if getattr(parameters, name) is None:
            setattr(parameters, name, default)
    parameters.efs = [int(ef) for ef in parameters.efs.split(",") if ef]
    if parameters.quick and not parameters.efs:
        parameters.efs = [20, 40, 80, 160, 320]
    parameters.skip = set(filter(None, parameters.skip.split(",")))
    if parameters.quick:
        parameters.skip.add("default")
    unknown = parameters.skip - set(PHASES)
    if unknown:
        parser.error("unknown phase: " + " ".join(sorted(unknown)))
    return parameters


def settings():
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"shared_preload_libraries": "vecckpt",
            "shared_buffers": "4GB" if gigabytes >= 15 else f"{int(gigabytes * 256)}MB",
            "maintenance_work_mem": "1GB", "max_parallel_maintenance_workers": "2", "max_parallel_workers": "8",
            "max_worker_processes": "16", "max_wal_size": "16GB", "min_wal_size": "2GB", "checkpoint_timeout": "1h",
            "autovacuum": "off", "jit": "off", "max_parallel_workers_per_gather": "0"}


def machine(connection):
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    model = names[0] if names else platform.machine()
    packages = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}\n", "postgresql-17-pgvector",
                               "libhnswlib-dev", "libhwy-dev", "g++"], capture_output=True, text=True).stdout.splitlines()
    extensions = dict(query(connection, "SELECT extname, extversion FROM pg_extension"))
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "postgresql": value(connection, "SHOW server_version"), "vecckpt": extensions["vecckpt"],
            "pgvector": extensions["vector"], "packages": packages}


class Bench:
    def __init__(self, parameters, output):
        self.parameters = parameters
        self.output = output
        self.begin = time.monotonic()
        now = datetime.datetime.now(datetime.timezone.utc)
        self.results = {"date": now.strftime("%Y-%m-%d %H:%M UTC"), "sets": {}, "builds": [], "sizes": [], "points": [],
                        "raw": {}, "inserts": [], "while_inserting": [], "wal": {}, "vacuum": [], "start": [],
                        "failures": [], "phase_seconds": {}, "repeat": parameters.repeat,
                        "build_repeat": parameters.build_repeat, "m": parameters.m,
                        "ef_construction": parameters.ef_construction, "our_with": parameters.our_with,
                        "quick": parameters.quick, "settings": settings()}

    def say(self, text):
        print(f"[{time.monotonic() - self.begin:6.0f} s] {text}", flush=True)

    def timed(self, phase, work, *arguments):
        """A phase that fails is reported, and the next ones go on."""
        start = time.monotonic()
        try:
            work(*arguments)
        except (psycopg2.Error, subprocess.CalledProcessError, ValueError, IndexError) as problem:
            detail = getattr(problem, "stderr", None) or problem
            self.say(f"{phase} failed: {detail}")
            self.results["failures"].append({"phase": phase, "error": str(detail).strip().splitlines()[0]})
            traceback.print_exc()
            self.connection = self.server.connect(wait=60) if self.server.process else self.server.start()
        spent = self.results["phase_seconds"]
        spent[phase] = round(spent.get(phase, 0) + time.monotonic() - start, 1)
        self.results["minutes"] = round((time.monotonic() - self.begin) / 60, 1)
        with open(os.path.join(self.output, "bench.json"), "w") as file:
            json.dump(self.results, file, indent=1)

    def run(self):
        chosen = [name for name in self.parameters.sets.split(",") if name]
        self.sets = find_sets(self.parameters.vectors, self.max_rows)
        self.sets = [data for data in self.sets if not chosen or data.label in chosen]
        if not self.sets:
            sys.exit("no NAME.base.*bin with NAME.query.*bin in the folder")
        self.server = Server(os.path.join(self.parameters.work, "server"), settings())
        try:
            self.connection = self.server.start()
            query(self.connection, "CREATE EXTENSION vecckpt")
            query(self.connection, "CREATE EXTENSION vector")
            self.results["machine"] = machine(self.connection)
            writing = max(self.sets, key=lambda data: data.dims)
            for data in self.sets:
                self.results["sets"][data.name] = {"label": data.label, "rows": data.rows, "dims": data.dims,
                                                   "metric": data.metric, "queries": data.query.rows}
                self.timed("load", self.load, data, data is writing)
                self.timed("build", self.build, data)
                self.timed("search", self.search, data)
            for data in self.sets:
                self.timed("start", self.start, data)
            self.timed("insert", self.insert, writing)
            for data in self.sets:
                self.timed("vacuum", self.vacuum, data)
        finally:
            self.server.stop()
        for data in self.sets:
            self.timed("raw", self.raw, data)

    def max_rows(self, dims):
        if self.parameters.rows:
            return self.parameters.rows
        return (50_000 if dims < 512 else 10_000) if self.parameters.quick else None

    def storages(self, data):
        both = tables.has_default_storage(data) and "default" not in self.parameters.skip
        return ["plain", "default"] if both else ["plain"]

    def load(self, data, writing):
        self.say(f"{data.label}: loading {data.rows} x {data.dims}, {data.metric}")
        data.find_truth(self.parameters.raw, 100, os.path.join(self.parameters.work, "truth.ibin"))
        tables.load(self.connection, data, self.parameters.work, self.storages(data),
                    min(data.rows // 2, 40_000) if writing else 1)

    def build(self, data):
        for storage in self.storages(data):
            for _ in range(self.parameters.build_repeat if storage == "plain" else 1):
                for kind in tables.KINDS:
                    built = tables.build(self.server, data, kind, storage, self.parameters)
                    self.results["builds"].append(dict(built, set=data.name, kind=kind, storage=storage))
                    self.say(f"{data.label}, {storage} storage: CREATE INDEX, {kind}: {built['seconds']} s, "
                             f"{built['total_bytes'] >> 20} MB")
        for kind in tables.KINDS:
            self.results["sizes"].append(dict(tables.index_bytes(self.connection, data, kind), set=data.name, kind=kind))

    def search(self, data):
        for storage in self.storages(data):
            for k in (10, 100) if storage == "plain" else (10,):
                self.results["points"] += searches.search(self.server, data, storage, k, self.parameters, self.say)

    def start(self, data):
        if "start" in self.parameters.skip:
            return
        self.say(f"{data.label}: restarts")
        self.connection.close()
        self.server.stop()
        empty = Server(os.path.join(self.parameters.work, "empty"), settings())
        connection = empty.start()
        query(connection, "CREATE EXTENSION vecckpt")
        query(connection, "CREATE TABLE one AS SELECT 1 AS id, '{1,2}'::real[] AS v")
        connection.close()
        empty.stop()
        for repetition in range(self.parameters.repeat):
            for cold in (False, True):
                for kind in ("empty",) + tables.KINDS:
                    server = empty if kind == "empty" else self.server
                    times = searches.first_queries(server, data, kind, cold)
                    self.results["start"].append(dict(times, set=data.name, kind=kind, cold=cold))
        self.connection = self.server.start()

    def insert(self, data):
        if "insert" in self.parameters.skip:
            return
        writes.prepare(self.server, self.connection, data)
        seconds = max(1, round(2 * self.parameters.seconds))
        for repetition in range(self.parameters.repeat):
            for synchronous in (False, True):
                for clients in (1,) if synchronous and self.parameters.quick else (1, 2, 8):
                    self.say(f"{data.label}: inserts, {clients} clients, synchronous_commit "
                             f"{'on' if synchronous else 'off'}")
                    kinds = ("none",) + tables.KINDS
                    for kind in kinds if repetition % 2 == 0 else kinds[::-1]:
                        self.results["inserts"].append(
                            writes.inserts(self.server, self.connection, data, kind, clients, synchronous, seconds))
                        writes.remove_inserted(self.connection, data, kind)
        for kind in ("none",) + tables.KINDS:
            self.results["wal"][kind] = writes.wal_without_page_images(self.server, self.connection, data, kind, seconds)
            writes.remove_inserted(self.connection, data, kind)
        for repetition in range(self.parameters.repeat):
            for kind in tables.KINDS:
                ef = self.ef_at(data, kind, 0.95)
                found = searches.latency_while_inserting(self.server, data, kind, ef,
                                                         writes.insert_script(data, kind), seconds)
                writes.remove_inserted(self.connection, data, kind)
                self.results["while_inserting"].append(
                    {"set": data.name, "kind": kind, "ef": ef, "alone_ms": percentiles(found["alone"]),
                     "inserting_ms": percentiles(found["inserting"]),
                     "inserts_per_second": found["inserts_per_second"]})

    def ef_at(self, data, kind, goal):
        """The ef_search of that recall@10, interpolated between measured ones."""
        points = sorted((p["ef"], p["recall"]) for p in self.results["points"]
                        if (p["set"], p["kind"], p["k"], p["storage"]) == (data.name, kind, 10, "plain"))
        for (low, below), (high, above) in zip(points, points[1:]):
            if below < goal <= above:
                return round(low + (high - low) * (goal - below) / (above - below))
        return points[0][0] if points[0][1] >= goal else points[-1][0]

    def vacuum(self, data):
        if "vacuum" in self.parameters.skip:
            return
        self.say(f"{data.label}: VACUUM after 10 % deletes")
        for repetition in range(self.parameters.repeat):
            for kind in ("none",) + tables.KINDS:
                previous = [v for v in self.results["vacuum"] if v["set"] == data.name and v["kind"] == kind]
                # A second look at minutes adds nothing.
                if not previous or previous[-1]["seconds"] < 30:
                    run = writes.vacuum(self.server, data, kind, 3 + repetition, self.parameters.vacuum_limit)
                    self.results["vacuum"].append(run)
                    if kind == "ours":
                        tables.wait_for_builder(self.connection)

    def raw(self, data):
        if "raw" not in self.parameters.skip:
            self.say(f"{data.label}: hnswlib in process")
            self.results["raw"][data.name] = searches.raw_hnswlib(data, self.parameters.raw, self.parameters)


def main():
    parameters = parse()
    output = os.path.join(parameters.work, "results")
    shutil.rmtree(output, ignore_errors=True)
    os.makedirs(output)
    bench = Bench(parameters, output)
    bench.run()
    report.write(bench.results, output)


if __name__ == "__main__":
    main()
