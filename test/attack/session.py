"""A client: a connection that comes back, statements whose expected errors are counted and whose others are findings."""

import select
import threading
import time
from collections import Counter

import psycopg2
from psycopg2 import extensions

# What clients may be told: the attack asks for it, or PostgreSQL documents it for what goes on beside them.
EXPECTED = {
    "23505": "two writers have inserted the same row",
    "25006": "the server has become a standby",
    "25P02": "an earlier error of the same transaction",
    "40001": "serialization failure, or a conflict with recovery",
    "40P01": "deadlock",
    "42704": "the object has been dropped meanwhile",
    "42P01": "the table or index has been dropped meanwhile",
    "42P07": "the name is taken",
    "55000": "not in the state for it, such as an index that is not valid",
    "55006": "in use by another session",
    "55P03": "lock timeout",
    "57014": "statement timeout, or cancelled",
    "57P01": "shutdown, or terminated",
    "57P02": "another process has crashed",
    "57P03": "the server starts or stops",
}
# Errors without a SQLSTATE of their own that come where relations go away, or are made anew, beside a statement.
EXPECTED_TEXTS = ("could not open relation with OID", "cache lookup failed for", "cannot access temporary or unlogged",
                  "tuple concurrently updated", "tuple concurrently deleted", "could not open file \"pg_tblspc",
                  "was concurrently dropped", "prepared transaction with identifier", "different vector dimensions")


class Finding(Exception):
    """Something that must not be."""


class Skip(Exception):
    """The statement could not be done, for a reason that is expected."""


# Longer than statement_timeout, which ends every statement that can be cancelled.
STATEMENT_SECONDS = 120
PATIENCE_SECONDS = 480


def wait_for_server(connection):
    """psycopg2 calls this instead of waiting without end."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        state = connection.poll()
        if state == extensions.POLL_OK:
            return
        reads = [connection.fileno()] if state == extensions.POLL_READ else []
        writes = [connection.fileno()] if state == extensions.POLL_WRITE else []
        select.select(reads, writes, [], 1)
        if time.monotonic() > end:
            raise Finding(f"for {PATIENCE_SECONDS} s a statement has neither ended nor been cancelled")


extensions.set_wait_callback(wait_for_server)


class Tally:
    """Counts of one run, from all threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = Counter()

    def add(self, name, count=1):
        with self.lock:
            self.counts[name] += count


def is_expected(error, also=()):
    text = str(error)
    if error.pgcode is None:
        return isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError))
    return (error.pgcode in EXPECTED or any(part in text for part in EXPECTED_TEXTS)
            or any(part in text for part in also))


class Session:
    """Of one thread. `choose` says which server to connect to, as roles change; `over`, when to give up coming back."""

    def __init__(self, choose, tally, over, also=()):
        self.choose = choose
        self.server = choose()
        self.tally = tally
        self.over = over
        self.also = also  # texts of other errors that are expected, of injected faults
        self.connection = None

    def connect(self, seconds=120):
        end = time.monotonic() + seconds
        while True:
            self.server = self.choose()
            try:
                self.connection = psycopg2.connect(
                    host=self.server.setup.folder, port=self.server.port, user="postgres", dbname="attack",
                    options=f"-c lock_timeout=5s -c statement_timeout={STATEMENT_SECONDS}s -c client_min_messages=error")
                self.connection.autocommit = True
                return
            except psycopg2.OperationalError as error:
                if self.over():
                    raise Skip("no connection") from error
                if time.monotonic() > end:
                    raise Finding(f"server {self.server.name} does not answer for {seconds} s: {error}") from error
                time.sleep(0.05)

    def close(self):
        if self.connection:
            try:
                self.connection.close()
            except psycopg2.Error:
                pass
        self.connection = None

    def run(self, *statements):
        """Each statement for itself, in autocommit mode or the open transaction; the rows of the last one."""
        if self.connection is None or self.connection.closed:
            self.connect()
        rows = None
        for statement in statements:
            try:
                with self.connection.cursor() as cursor:
                    cursor.execute(statement)
                    rows = cursor.fetchall() if cursor.description else None
            except psycopg2.Error as error:
                self._failed(statement, error)
            except Finding as finding:
                raise Finding(f"server {self.server.name}: {finding}\n{statement}") from finding
        return rows

    def _failed(self, statement, error):
        code = error.pgcode or "no connection"
        if not is_expected(error, self.also):
            raise Finding(f"server {self.server.name}: {code} {str(error).strip()}\n{statement}") from error
        self.tally.add(f"error {code}")
        if error.pgcode in (None, "25006") or self.connection.closed:
            self.close()
        else:
            try:
                with self.connection.cursor() as cursor:
                    cursor.execute("ROLLBACK")
            except psycopg2.Error:
                self.close()
        raise Skip(str(error)) from error
