#!/usr/bin/python3
"""A random differential test: a primary and a standby under writers, changes of definitions, faults and damaged files;
every index is compared with sequential scans in the same snapshots. ./run attack calls it; CONTRIBUTING.md says how.

In rounds. Each draws its tables' fate, runs clients for some seconds, lets one fault happen among them, and then, when all is
quiet, compares every table on both servers and has the indexes checked. Everything random comes from the seed; what the
processes make of it in time does not. The first finding ends the run and keeps the servers' folders."""

import argparse
import os
import random
import re
import sys
import threading
import time
import traceback
from dataclasses import dataclass

import psycopg2

from checker import Checker, Recall
from faults import Faults, History, Injector
from server import Server
from session import Finding, Session, Skip, Tally
from table import SQL_FUNCTION, Table
from writers import Keeper, Writer

TABLES = 4


@dataclass
class Setup:
    programs: str  # PostgreSQL's bin folder
    folder: str
    settings: str = ""
    pgvector: bool = False
    fault_library: str = ""


class Pair:
    def __init__(self, setup):
        self.primary = Server(setup, "a", 54341)
        self.standby = Server(setup, "b", 54342)

    def exchange(self):
        self.primary, self.standby = self.standby, self.primary


class Attack:
    def __init__(self, setup, seed, seconds):
        self.setup = setup
        self.seed = seed
        self.end = time.monotonic() + seconds
        self.pair = Pair(setup)
        self.tally = Tally()
        self.recall = Recall()
        self.findings = []
        self.tables = []
        self.history = History(self.pair)
        self.round = 0
        self.context = "start"
        self.killed = False
        # The log's ring is short where extents are tiny.
        self.expected = (*Injector.ERRORS, "cannot grow further") if setup.fault_library else ()

    def random(self, actor):
        return random.Random(f"{self.seed}/{self.round}/{actor}")

    def the_primary(self):
        return self.pair.primary

    def the_standby(self):
        return self.pair.standby

    def prepare(self):
        primary = self.pair.primary
        primary.create()
        primary.start()
        connection = psycopg2.connect(host=self.setup.folder, port=primary.port, user="postgres", dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET allow_in_place_tablespaces = on")
            for sql in ("CREATE TABLESPACE here LOCATION ''", "CREATE TABLESPACE there LOCATION ''", "CREATE DATABASE attack"):
                cursor.execute(sql)
        connection.close()
        session = self.session(self.the_primary)
        self.setup.pgvector = bool(session.run("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"))
        extension = "vecckpt_pgvector" if self.setup.pgvector else "vecckpt"
        session.run(f"CREATE EXTENSION {extension} CASCADE", SQL_FUNCTION)
        if self.setup.fault_library:
            session.run("UPDATE pg_proc SET probin = 'vecckpt' WHERE probin = '$libdir/vecckpt'")
        session.close()
        if self.setup.fault_library:
            primary.stop("fast")
            primary.configure(f"dynamic_library_path = '{self.setup.fault_library}:$libdir'\n")
            os.mkdir(os.path.join(primary.data, "fault_points"))
            primary.start()
        self.pair.standby.copy_from(primary)
        self.pair.standby.start()

    def run(self):
        self.prepare()
        while time.monotonic() < self.end and not self.findings:
            self.round += 1
            try:
                self.one_round()
            except Finding as finding:
                self.findings.append(str(finding))
            except Exception:  # the attack's own mistakes, and programs of PostgreSQL that fail
                self.findings.append(f"{self.context}\n{traceback.format_exc()}")
            if not self.findings:
                self.tally.add("rounds")

    def one_round(self):
        plan = self.random("plan")
        self.context = f"seed {self.seed}, round {self.round}"
        self.killed = False
        if self.tables and plan.random() < 0.25:
            self.lose_history(plan)
        self.renew_tables(plan)
        fault = Faults(self.random("fault"), self.pair, self.tally).choose()
        self.context += f", {fault.__name__}"
        seconds = plan.choice([2, 4, 8])
        over = threading.Event()
        clients = self.start_clients(over)
        self.killed = fault.__name__ != "nothing"
        if self.setup.fault_library and plan.random() < 0.5:
            self.inject(seconds, plan)
        else:
            time.sleep(seconds * plan.random())
        done = fault()
        self.context += f" ({done})"
        time.sleep(seconds * plan.random())
        over.set()
        for client in clients:
            client.join(300)
            if client.is_alive():
                raise Finding(f"{self.context}: a client is stuck for five minutes")
        if not self.findings:
            self.compare_all(plan)
        self.read_logs()
        if self.findings:
            return
        print(f"{time.strftime('%H:%M:%S')} round {self.round}: {fault.__name__} ({done}); "
              f"{self.tally.counts['comparisons']} comparisons", flush=True)

    def lose_history(self, plan):
        """Keeps the data folder for a later round, or puts an older one back at once or now; then compares."""
        print(f"  {self.history.step(self.tables)}", flush=True)
        if self.history.server and plan.random() < 0.5:
            # Deletes alone, which no hash over the log's entries tells from their absence.
            session = self.session(self.the_primary)
            for table in self.tables:
                self.patiently(lambda: session.run(f"DELETE FROM {table.name} WHERE id % 3 > 0"))
                self.patiently(lambda: session.run(f"VACUUM {table.name}"))
            self.patiently(lambda: session.run("SELECT vec_checkpoint()"))
            session.close()
            print(f"  after deletes: {self.history.step(self.tables)}", flush=True)
        self.compare_all(plan)

    def inject(self, seconds, plan):
        """Fault points for some seconds; both servers answer afterwards."""
        self.killed = True
        injector = Injector(self.random("injector"), self.pair, self.setup.fault_library)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            injector.step()
            self.tally.add("fault points set")
            time.sleep(0.3 * plan.random())
        injector.clear()
        for choose in (self.the_primary, self.the_standby):
            session = self.session(choose)
            self.patiently(lambda: session.run("SELECT 1"))
            session.close()

    def session(self, choose, over=lambda: False):
        return Session(choose, self.tally, over, self.expected)

    def renew_tables(self, plan):
        session = self.session(self.the_primary)
        for number in range(TABLES):
            if number < len(self.tables) and plan.random() < 0.8:
                continue
            table = Table(plan, number, self.setup)
            print(f"  {table.describe()}", flush=True)
            for statement in table.create():
                session.run(statement)
            self.tables[number:number + 1] = [table]
        session.close()

    def start_clients(self, over):
        clients = []

        def client(name, choose, make):
            draw = self.random(name)
            session = self.session(choose, over.is_set)
            step = make(session, draw)

            def loop():
                try:
                    while not over.is_set():
                        try:
                            step()
                        except Skip:
                            time.sleep(0.05)
                except Finding as finding:
                    self.findings.append(f"{self.context}, {name}: {finding}")
                except Exception:
                    self.findings.append(f"{self.context}, {name}: {traceback.format_exc()}")
                finally:
                    session.close()
            thread = threading.Thread(target=loop, name=name, daemon=True)
            clients.append(thread)
            thread.start()

        def checking(session, draw):
            checker = Checker(session, draw, self.recall, self.context)
            return lambda: checker.check(draw.choice(self.tables), lambda: time.sleep(2 * draw.random()))

        for name in ("writer 1", "writer 2"):
            client(name, self.the_primary, lambda session, draw: Writer(session, draw, self.tables).step)
        client("keeper", self.the_primary, lambda session, draw: Keeper(session, draw, self.tables).step)
        client("checker", self.the_primary, checking)
        client("checker of the standby", self.the_standby, checking)
        return clients

    def compare_all(self, plan):
        """Nobody else works now."""
        session = self.session(self.the_primary)
        keeper = Keeper(session, plan, self.tables)
        for name, in self.patiently(lambda: session.run("SELECT gid FROM pg_prepared_xacts")):
            self.patiently(lambda: session.run(f"{plan.choice(['COMMIT', 'ROLLBACK'])} PREPARED '{name}'"))
        for table in self.tables:
            self.patiently(lambda: keeper.mend(table))
        if plan.random() < 0.3:
            self.patiently(lambda: session.run("SELECT vec_checkpoint()"))
        end = self.patiently(lambda: session.run("SELECT pg_current_wal_insert_lsn()"))[0][0]
        self.compare(session, plan)
        session.close()
        session = self.session(self.the_standby)
        deadline = time.monotonic() + 300
        while not self.patiently(lambda: session.run(f"SELECT pg_last_wal_replay_lsn() >= '{end}'"))[0][0]:
            if time.monotonic() > deadline:
                raise Finding(f"{self.context}: the standby does not catch up")
            time.sleep(0.1)
        self.compare(session, plan)
        session.close()

    def compare(self, session, plan):
        checker = Checker(session, plan, self.recall, self.context)
        for table in self.tables:
            self.patiently(lambda: checker.check(table))
            # Damage that nobody has met yet is found by the check, which leaves it in place; what searches and builders
            # have met is set aside by and by.
            deadline = time.monotonic() + 300
            while rows := self.patiently(lambda: checker.index_check(table)):
                if time.monotonic() > deadline:
                    raise Finding(f"{self.context}: server {session.server.name}, {table.describe()}: vec_index_check finds\n"
                                  + "\n".join(map(str, rows[:20])))
                time.sleep(1)

    def patiently(self, action):
        """Again where a server has just come back, or a lock is still held by what was killed."""
        deadline = time.monotonic() + 180
        while True:
            try:
                return action()
            except Skip as error:
                if time.monotonic() > deadline:
                    raise Finding(f"{self.context}: for three minutes: {error}") from error
                time.sleep(0.2)

    def read_logs(self):
        """Crashes that nobody asked for, and errors of processes that have no client to tell."""
        wrong = r"PANIC|TRAP:|AddressSanitizer|runtime error|internal error|terminated by signal (?!9\b)"
        if not self.killed:
            wrong += r"|terminated by signal"
        for server in (self.pair.primary, self.pair.standby):
            for line in server.new_log().splitlines():
                if "setting aside" in line:
                    self.tally.add("set aside" if self.killed else "set aside without a fault")
                if any(text in line for text in self.expected):
                    continue
                if re.search(wrong, line) or re.search(r"vecckpt (builder|launcher) (?!57P01|40001)\w+: +(ERROR|FATAL)", line):
                    raise Finding(f"{self.context}: log of server {server.name}: {line}")
        wrong = self.recall.wrong()
        if wrong:
            raise Finding(f"{self.context}: {wrong}")

    def finish(self):
        for server in (self.pair.primary, self.pair.standby):
            if server.postmaster():
                server.control("-m", "fast", "stop", check=False)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("programs")
    parser.add_argument("folder")
    parser.add_argument("minutes", type=float)
    parser.add_argument("--fault-library", default="")
    arguments = parser.parse_args()
    seed = int(os.environ.get("VECCKPT_SEED") or random.SystemRandom().randrange(2**31))
    print(f"seed {seed}", flush=True)
    setup = Setup(arguments.programs, arguments.folder, fault_library=arguments.fault_library)
    attack = Attack(setup, seed, 60 * arguments.minutes)
    try:
        attack.run()
    finally:
        attack.finish()
    for finding in attack.findings:
        print(f"FOUND: {finding}")
    for name, count in sorted(attack.tally.counts.items()):
        print(f"{count:9} {name}")
    for kind, (total, count) in sorted(attack.recall.sums.items()):
        print(f"{total / count:9.4f} recall of {kind}, {count} queries")
    print(f"{attack.tally.counts['rounds']} rounds, {attack.tally.counts['comparisons']} comparisons, "
          f"{len(attack.findings)} findings")
    sys.exit(1 if attack.findings else 0)


if __name__ == "__main__":
    main()
