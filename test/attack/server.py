"""A PostgreSQL server of the attack's own: started, killed, copied, promoted; its processes and its log."""

import glob
import os
import re
import shutil
import signal
import subprocess
import time

SETTINGS = """
shared_preload_libraries = 'vecckpt'
listen_addresses = ''
fsync = off
wal_level = replica
wal_log_hints = on
wal_keep_size = 2GB
max_wal_size = 256MB
max_connections = 40
max_prepared_transactions = 20
max_worker_processes = 16
max_standby_streaming_delay = 10s
allow_in_place_tablespaces = on
restart_after_crash = on
shared_buffers = 64MB
maintenance_work_mem = 64MB
log_min_messages = info
log_line_prefix = '%m [%p] %b %e: '
vecckpt.checkpoint_timeout = 2
vecckpt.build_memory = 64MB
"""


class Server:
    """One data folder. A copy of another server follows that one until it is promoted."""

    def __init__(self, setup, name, port):
        self.setup = setup  # programs, folder, settings: see attack.Setup
        self.name = name
        self.port = port
        self.data = os.path.join(setup.folder, name)
        self.log = os.path.join(setup.folder, name + ".log")
        self.log_read = 0

    def run(self, program, *arguments, check=True):
        result = subprocess.run([os.path.join(self.setup.programs, program), *arguments], check=False,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if check and result.returncode:
            raise RuntimeError(f"{program} {' '.join(arguments)}: {result.stdout}")
        return result

    def control(self, *arguments, check=True):
        # pg_ctl hands its output on to the server, so it gets a file and no pipe.
        command = [os.path.join(self.setup.programs, "pg_ctl"), "-D", self.data, "-w", "-t", "600", "-s", *arguments]
        with open(self.log + ".pg_ctl", "a", encoding="utf-8") as output:
            status = subprocess.call(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        if check and status:
            raise RuntimeError(f"server {self.name}: pg_ctl {' '.join(arguments)} failed, see {self.log}")

    def create(self):
        self.run("initdb", "-D", self.data, "-U", "postgres", "--auth=trust", "--locale=C", "--encoding=UTF8", "--no-sync")
        self.configure(SETTINGS + self.setup.settings)
        self.configure(f"unix_socket_directories = '{self.setup.folder}'\nport = {self.port}\n")

    def copy_from(self, primary):
        """A new standby by base backup."""
        shutil.rmtree(self.data, ignore_errors=True)
        primary.run("pg_basebackup", "-D", self.data, "-h", self.setup.folder, "-p", str(primary.port), "-U", "postgres",
                    "-c", "fast", "-X", "stream", "-R", "--no-sync")
        self.configure(f"port = {self.port}\n")

    def rewind_to(self, primary):
        """A standby again from what was a primary; False where pg_rewind refuses."""
        source = f"host={self.setup.folder} port={primary.port} user=postgres dbname=postgres"
        if self.run("pg_rewind", "-D", self.data, "--source-server", source, "-R", "--no-sync", check=False).returncode:
            return False
        self.configure(f"port = {self.port}\n")
        return True

    def configure(self, text):
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as file:
            file.write(text)

    def start(self):
        # After a kill the postmaster's children may need a moment to go, and their shared memory with them.
        for attempt in range(30):
            try:
                return self.control("-l", self.log, "start")
            except RuntimeError:
                if attempt == 29 or "still in use" not in self.log_text(self.log_read)[-20000:]:
                    raise
                time.sleep(0.5)

    def stop(self, mode):
        self.control("-m", mode, "stop")

    def postmaster(self):
        try:
            with open(os.path.join(self.data, "postmaster.pid"), encoding="utf-8") as file:
                return int(file.readline())
        except (OSError, ValueError):
            return None

    def children(self, title=r""):
        """Processes of this server whose title matches."""
        found = []
        parent = self.postmaster()
        for path in glob.glob("/proc/[0-9]*"):
            try:
                with open(path + "/stat", encoding="utf-8") as file:
                    mother = int(file.read().rsplit(")", 1)[1].split()[1])
                with open(path + "/cmdline", encoding="utf-8") as file:
                    command = file.read()
            except (OSError, IndexError, ValueError):
                continue
            if parent and mother == parent and re.search(title, command):
                found.append(int(path.rsplit("/", 1)[1]))
        return sorted(found)

    def kill(self, everything):
        """kill -9 of the postmaster, alone or with all its children; returns when all are gone."""
        parent = self.postmaster()
        children = self.children()
        victims = [parent] + (children if everything else [])
        for pid in victims:
            kill_process(pid)
        end = time.monotonic() + 60
        while any(os.path.exists(f"/proc/{pid}") for pid in [parent] + children):
            if time.monotonic() > end:
                raise RuntimeError(f"server {self.name}: processes outlive their postmaster by a minute")
            time.sleep(0.02)

    def log_text(self, start=0):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                file.seek(start)
                return file.read()
        except FileNotFoundError:
            return ""

    def new_log(self):
        """What was logged since the last call."""
        text = self.log_text(self.log_read)
        complete = text[:text.rfind("\n") + 1]
        self.log_read += len(complete.encode("utf-8", errors="replace"))
        return complete


def kill_process(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False
