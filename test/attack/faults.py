"""What happens to servers: processes killed, stops, promotion, and files damaged while a server is down."""

import copy
import os
import shutil

from server import kill_process


class Damage:
    """Of the files in vector-ckpt of a server that is down."""

    def __init__(self, random):
        self.random = random

    def do(self, server):
        """Says what it did."""
        folder = os.path.join(server.data, "vector-ckpt")
        older = os.path.join(server.setup.folder, server.name + ".older")
        done = []
        if not os.path.isdir(folder):
            return "no folder"
        if os.path.isdir(older) and self.random.random() < 0.15:
            shutil.rmtree(folder)
            shutil.move(older, folder)
            done.append("an older copy of the folder put back")
        elif self.random.random() < 0.3:
            shutil.rmtree(older, ignore_errors=True)
            shutil.copytree(folder, older)
            done.append("a copy of the folder kept")
        if self.random.random() < 0.05:
            shutil.rmtree(folder)
            return "the folder deleted"
        paths = sorted(os.path.join(folder, name) for name in os.listdir(folder))
        paths = [path for path in paths if os.path.isfile(path)]
        for path in self.random.sample(paths, min(len(paths), self.random.choice([0, 1, 1, 3]))):
            done.append(f"{os.path.basename(path)} {self._damage(path, paths)}")
        return "; ".join(done) or "none"

    def _damage(self, path, paths):
        size = os.path.getsize(path)
        what = self.random.choice(["flip", "flip", "flip", "truncate", "delete", "swap", "append", "zeros"])
        if what == "delete":
            os.remove(path)
            return "deleted"
        if what == "swap":
            kind = path.rsplit(".", 1)[1]
            other = self.random.choice([other for other in paths if other.endswith(kind) and os.path.exists(other)])
            if other == path:
                return "left alone"
            os.rename(path, path + ".swap")
            os.rename(other, path)
            os.rename(path + ".swap", other)
            return f"swapped with {os.path.basename(other)}"
        with open(path, "r+b") as file:
            place = self.random.randrange(max(size, 1))
            if what == "truncate":
                file.truncate(place)
            elif what == "append":
                file.seek(size)
                file.write(b"x" * self.random.choice([1, 4096]))
            elif what == "zeros":
                file.seek(place)
                file.write(bytes(min(4096, size - place)))
            elif size:
                file.seek(place)
                byte = file.read(1)[0]
                file.seek(place)
                file.write(bytes([byte ^ 1 << self.random.randrange(8)]))
        return f"{what} at {place} of {size}"


class Injector:
    """Sets fault points (src/base/fault_point.hpp) of servers that run: a step fails, or its process is killed."""

    # The postmaster passes these at its start too; one that is killed does not come back by itself.
    ONLY_FAIL = ("Reload", "File", "Folder")
    ERRORS = ("fault point", "could not checkpoint index")

    def __init__(self, random, pair, library):
        self.random = random
        self.pair = pair
        with open(os.path.join(library, "vecckpt.so"), "rb") as file:
            text = file.read()
        start = text.index(b"fault points: ") + len(b"fault points: ")
        self.names = text[start:text.index(b"\0", start)].decode().split()

    def _folders(self):
        return [os.path.join(server.data, "fault_points") for server in (self.pair.primary, self.pair.standby)]

    def step(self):
        name = self.random.choice(self.names)
        action = "error" if name.startswith(self.ONLY_FAIL) or self.random.random() < 0.7 else "crash"
        path = os.path.join(self.random.choice(self._folders()), name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(action + "\n")
        os.rename(path + ".new", path)

    def clear(self):
        for folder in self._folders():
            for name in os.listdir(folder):
                os.remove(os.path.join(folder, name))


class History:
    """The primary's data folder as it was some rounds ago, put back while vector-ckpt stays as it is: files of a history that
    is lost."""

    def __init__(self, pair):
        self.pair = pair
        self.server = None
        self.tables = None

    def step(self, tables):
        """Keeps the folder, or puts it back with the tables of then; says which. REQUIRES: no clients."""
        primary, standby = self.pair.primary, self.pair.standby
        kept = primary.data + ".kept"
        primary.stop("fast")
        if self.server is not primary:
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(primary.data, kept, symlinks=True)
            self.server, self.tables = primary, copy.deepcopy(tables)
            primary.start()
            return "the data folder is kept"
        files = os.path.join(primary.data, "vector-ckpt")
        shutil.rmtree(os.path.join(kept, "vector-ckpt"), ignore_errors=True)
        if os.path.isdir(files):
            shutil.move(files, kept)
        shutil.rmtree(primary.data)
        shutil.move(kept, primary.data)
        primary.start()
        standby.stop("immediate")
        standby.copy_from(primary)
        standby.start()
        tables[:] = self.tables
        self.server = None
        return "an older data folder is put back, with the newer vector-ckpt"


class Faults:
    """One fault a round. `pair` holds the primary and the standby and can exchange them."""

    def __init__(self, random, pair, tally):
        self.random = random
        self.pair = pair
        self.tally = tally

    def choose(self):
        return self.random.choice([
            self.nothing, self.kill_backend, self.kill_builder, self.kill_builder, self.kill_launcher, self.kill_checkpointer,
            self.kill_postmaster, self.kill_everything, self.kill_everything, self.stop_fast, self.stop_immediate,
            self.kill_standby, self.stop_standby, self.kill_standby_builder, self.promote, self.promote])

    def nothing(self):
        return "nothing"

    def _kill_child(self, server, title):
        pids = server.children(title)
        if not pids:
            return "nothing: there is none"
        kill_process(self.random.choice(pids))
        return f"killed one of server {server.name}"

    def kill_backend(self):
        return self._kill_child(self.pair.primary, r"^postgres: postgres attack")

    def kill_builder(self):
        return self._kill_child(self.pair.primary, "vecckpt builder")

    def kill_standby_builder(self):
        return self._kill_child(self.pair.standby, "vecckpt builder")

    def kill_launcher(self):
        return self._kill_child(self.pair.primary, "vecckpt launcher")

    def kill_checkpointer(self):
        return self._kill_child(self.pair.primary, "checkpointer")

    def _down_and_up(self, server, how):
        if how == "kill":
            server.kill(everything=False)
        elif how == "kill all":
            server.kill(everything=True)
        else:
            server.stop(how)
        damage = Damage(self.random).do(server) if self.random.random() < 0.6 else "none"
        server.start()
        return f"server {server.name}: {how}, damage: {damage}"

    def kill_postmaster(self):
        return self._down_and_up(self.pair.primary, "kill")

    def kill_everything(self):
        return self._down_and_up(self.pair.primary, "kill all")

    def stop_fast(self):
        return self._down_and_up(self.pair.primary, "fast")

    def stop_immediate(self):
        return self._down_and_up(self.pair.primary, "immediate")

    def kill_standby(self):
        return self._down_and_up(self.pair.standby, "kill all")

    def stop_standby(self):
        return self._down_and_up(self.pair.standby, self.random.choice(["fast", "immediate"]))

    def promote(self):
        """The standby takes over; the old primary comes back by pg_rewind or is made anew by base backup."""
        old, new = self.pair.primary, self.pair.standby
        how = self.random.choice(["fast", "immediate"])
        old.stop(how)
        new.control("promote")
        # pg_rewind reads the new timeline from the control file, which this checkpoint writes.
        new.run("psql", "-X", "-h", new.setup.folder, "-p", str(new.port), "-U", "postgres", "-c", "CHECKPOINT", "postgres")
        rewound = False
        if self.random.random() < 0.5:
            if how == "immediate":  # pg_rewind wants a clean shutdown
                old.start()
                old.stop("fast")
            rewound = old.rewind_to(new)
        if not rewound:
            old.copy_from(new)
        damage = Damage(self.random).do(old) if self.random.random() < 0.3 else "none"
        old.start()
        self.pair.exchange()
        return (f"stopped {old.name} ({how}), promoted {new.name}, {old.name} follows by "
                f"{'pg_rewind' if rewound else 'base backup'}, damage: {damage}")
