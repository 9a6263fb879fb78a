"""A private PostgreSQL server, connections to it, pgbench, and what building processes take of memory."""

import glob
import os
import re
import shutil
import subprocess
import threading
import time

import psycopg2

BIN = "/usr/lib/postgresql/17/bin/"
PORT = 54331  # only names a socket: no TCP


class Server:
    def __init__(self, folder, settings):
        self.folder = folder
        self.data = os.path.join(folder, "data")
        self.process = None
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        subprocess.run([BIN + "initdb", "-D", self.data, "-U", "postgres", "--auth=trust", "--locale=C",
                        "--encoding=UTF8", "--no-sync"], check=True, stdout=subprocess.DEVNULL)
        self.settings = dict(settings, listen_addresses="", unix_socket_directories=folder, port=PORT)
        with open(os.path.join(self.data, "postgresql.conf"), "a") as file:
            for name, value in self.settings.items():
                file.write(f"{name} = '{value}'\n")

    def launch(self):
        """Starts the postmaster without waiting for it."""
        log = open(os.path.join(self.folder, "log"), "a")
        self.process = subprocess.Popen([BIN + "postgres", "-D", self.data], stdout=log, stderr=log)

    def start(self):
        self.launch()
        return self.connect(wait=60)

    def stop(self):
        if self.process:
            subprocess.run([BIN + "pg_ctl", "-D", self.data, "-m", "fast", "-w", "-t", "300", "-s", "stop"], check=True)
            self.process.wait()
            self.process = None

    def connect(self, wait=0, **settings):
        """A connection in autocommit mode with settings, tried again for `wait` seconds."""
        end = time.monotonic() + wait
        while True:
            try:
                connection = psycopg2.connect(host=self.folder, port=PORT, user="postgres", dbname="postgres",
                                              options=options(settings))
                break
            except psycopg2.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.001)
        connection.autocommit = True
        return connection

    def drop_page_cache(self):
        """The server's files leave the page cache; to be called while it is stopped."""
        for path, _, names in os.walk(self.data):
            for name in names:
                descriptor = os.open(os.path.join(path, name), os.O_RDONLY)
                try:
                    os.fdatasync(descriptor)
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(descriptor)

    def pgbench(self, script, clients, seconds, settings, log=False):
        """Runs a script with prepared statements: {'tps': ..., 'latencies': sorted milliseconds, if asked for}."""
        prefix = os.path.join(self.folder, f"pgbench-{threading.get_ident()}")
        with open(prefix + ".sql", "w") as file:
            file.write(script + "\n")
        command = [BIN + "pgbench", "-h", self.folder, "-p", str(PORT), "-U", "postgres", "-n", "-M", "prepared",
                   "-c", str(clients), "-j", str(min(clients, os.cpu_count())), "-T", str(seconds),
                   "-f", prefix + ".sql"]
        if log:
            command += ["--log", "--log-prefix", prefix]
        done = subprocess.run(command + ["postgres"], check=True, capture_output=True, text=True,
                              env=dict(os.environ, PGOPTIONS=options(settings)))
        result = {"tps": float(re.search(r"^tps = ([0-9.]+)", done.stdout, re.M).group(1)),
                  "transactions": int(re.search(r"actually processed: (\d+)", done.stdout).group(1))}
        latencies = []
        for path in glob.glob(glob.escape(prefix) + ".[0-9]*"):
            with open(path) as file:
                latencies += [int(line.split()[2]) / 1000 for line in file]
            os.remove(path)
        if log:
            result["latencies"] = sorted(latencies)
        return result


def options(settings):
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


def query(connection, statement, arguments=None):
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        return cursor.fetchall() if cursor.description else None


def value(connection, statement, arguments=None):
    return query(connection, statement, arguments)[0][0]


def percentiles(sorted_values):
    if not sorted_values:
        return {}
    last = len(sorted_values) - 1
    wanted = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "max": 1}
    return {name: round(sorted_values[int(part * last + 0.5)], 3) for name, part in wanted.items()}


class MemoryWatch:
    """While it is open, samples the memory of a backend and its parallel workers: private anonymous memory, and dynamic
    shared memory, which a parallel build works in. Mapped files and shared buffers do not count."""

    def __init__(self, connection):
        self.leader = connection.info.backend_pid
        self.peak = {"anonymous_bytes": 0, "dynamic_shared_bytes": 0, "total_bytes": 0}
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()

    def _run(self):
        while not self.stopped.wait(0.2):
            anonymous, shared = 0, 0
            for pid in [self.leader] + self._workers():
                found = memory_of(pid)
                anonymous += found[0]
                shared = max(shared, found[1])
            for name, size in (("anonymous_bytes", anonymous), ("dynamic_shared_bytes", shared),
                               ("total_bytes", anonymous + shared)):
                self.peak[name] = max(self.peak[name], size)

    def _workers(self):
        workers = []
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path) as file:
                    if f"parallel worker for PID {self.leader}" in file.read():
                        workers.append(int(path.split("/")[2]))
            except OSError:
                pass
        return workers


def memory_of(pid):
    """(private anonymous bytes, resident bytes of dynamic shared memory segments)"""
    anonymous, shared, dynamic = 0, 0, False
    try:
        with open(f"/proc/{pid}/smaps") as file:
            for line in file:
                word = line.split(None, 1)[0]
                if word == "Rss:" and dynamic:
                    shared += int(line.split()[1]) * 1024
                elif word == "Anonymous:" and not dynamic:
                    anonymous += int(line.split()[1]) * 1024
                elif not word.endswith(":"):
                    dynamic = "/PostgreSQL." in line
    except OSError:
        pass
    return anonymous, shared
