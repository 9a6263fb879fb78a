"""Search: recall and queries a second inside the server (LATERAL join over the query table) and through clients (pgbench);
the time to the first query after a start; and hnswlib without a server."""

import os
import subprocess
import threading
import time

from server import query
from tables import KINDS, session, source, table

EF_STEPS = (10, 20, 40, 60, 80, 120, 160, 240, 400)
EF_EXTRA = (600, 800, 1000)  # pgvector allows no more than 1,000
GOALS = (0.95, 0.99)


def nearest(data, kind, storage, k, vector):
    return f"SELECT id FROM {table(data, kind, storage)} ORDER BY v {data.operator} {vector} LIMIT {k}"


def lateral(data, kind, storage, k, columns):
    inner = nearest(data, kind, storage, k, "q.v")
    return f"SELECT {columns} FROM {source(data, 'query', kind)} q, LATERAL ({inner}) t WHERE q.id <= %s"


def client_script(data, kind, storage, k):
    vector = f"(SELECT v FROM {source(data, 'query', kind)} WHERE id = :id)"
    return f"\\set id random(1, {data.query.rows})\n" + nearest(data, kind, storage, k, vector) + ";"


def measure_recall(server, data, kind, storage, k, ef):
    """One pass over all queries: recall, and queries a second as a first guess."""
    connection = server.connect(**session(kind, ef))
    query(connection, lateral(data, kind, storage, k, "count(t.id)"), (20,))  # caches
    start = time.monotonic()
    rows = query(connection, lateral(data, kind, storage, k, "q.id, t.id"), (data.query.rows,))
    seconds = time.monotonic() - start
    connection.close()
    found = {}
    for number, row in rows:
        found.setdefault(number - 1, []).append(row)
    return data.recall(found, k), data.query.rows / seconds


def measure_inside(server, data, kind, storage, point, clients, seconds):
    """Queries a second of LATERAL joins in so many connections at once, over as many queries as fit the time."""
    k, ef, guess = point["k"], point["ef"], point["guess"]
    queries = min(data.query.rows, max(100, int(guess * seconds)))
    rounds = max(1, int(guess * seconds / queries))
    statement = lateral(data, kind, storage, k, "count(t.id)")
    connections = [server.connect(**session(kind, ef)) for _ in range(clients)]

    def run(connection, times, limit):
        for _ in range(times):
            query(connection, statement, (limit,))

    for connection in connections:
        run(connection, 1, 20)
    threads = [threading.Thread(target=run, args=(c, rounds, queries)) for c in connections]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - start
    for connection in connections:
        connection.close()
    return clients * rounds * queries / elapsed


def around_goals(points):
    """The points between which the goals lie: enough to interpolate there."""
    points = sorted(points, key=lambda p: p["ef"])
    kept = set()
    for goal in GOALS:
        above = next((i for i, p in enumerate(points) if p["recall"] >= goal), len(points) - 1)
        kept.update(i for i in (above - 1, above) if i >= 0)
    return [points[i] for i in sorted(kept)]


def curve(server, data, kind, storage, k, parameters):
    """Points of growing ef_search with their recall, until the highest goal is passed."""
    points = []
    for ef in parameters.efs or EF_STEPS + EF_EXTRA:
        if ef > EF_STEPS[-1] and not parameters.efs and points[-1]["recall"] >= GOALS[-1]:
            break
        recall, guess = measure_recall(server, data, kind, storage, k, ef)
        points.append({"set": data.name, "kind": kind, "storage": storage, "k": k, "ef": ef, "recall": round(recall, 4),
                       "guess": guess})
    return points


def search(server, data, storage, k, parameters, say):
    """Measures every point inside the server with one client once, those around the goals in all ways and repetitions; ours
    and theirs take turns. Adds to each point lists of queries a second: inside_1, inside_cores, client_1, client_cores."""
    points = {kind: curve(server, data, kind, storage, k, parameters) for kind in KINDS}
    cores = os.cpu_count()
    close = {kind: around_goals(points[kind]) for kind in KINDS}
    for repetition in range(parameters.repeat):
        say(f"{data.label}, {storage} storage, LIMIT {k}: repetition {repetition + 1}")
        for i in range(max(len(points[kind]) for kind in KINDS)):
            for kind in KINDS:
                if i >= len(points[kind]):
                    continue
                p = points[kind][i]
                if p in close[kind] or (storage == "plain" and repetition == 0):
                    p.setdefault("inside_1", []).append(
                        measure_inside(server, data, kind, storage, p, 1, parameters.seconds))
        for i in range(max(len(close[kind]) for kind in KINDS)):
            for clients, name in ((1, "1"), (cores, "cores")):
                for kind in KINDS:
                    if i < len(close[kind]):
                        p = close[kind][i]
                        if clients > 1:
                            p.setdefault("inside_cores", []).append(
                                measure_inside(server, data, kind, storage, p, clients, parameters.seconds))
                        if k == 10:
                            done = server.pgbench(client_script(data, kind, storage, k), clients,
                                                  max(1, round(parameters.seconds)), session(kind, p["ef"]))
                            p.setdefault("client_" + name, []).append(done["tps"])
    return points["ours"] + points["theirs"]


def raw_hnswlib(data, program, parameters):
    """hnswlib in process: build time with one thread a core, queries a second with one thread."""
    efs = [str(ef) for ef in parameters.efs or EF_STEPS]
    done = subprocess.run([program, "search", data.base.path, data.query.path, str(data.rows), data.metric,
                           str(parameters.m), str(parameters.ef_construction), str(os.cpu_count()), "10",
                           str(parameters.repeat)] + efs, check=True, capture_output=True, text=True)
    points, found, build = {}, {}, {}
    for line in done.stdout.splitlines():
        word, *rest = line.split()
        if word == "build":
            build = {"seconds": float(rest[0]), "bytes": int(rest[1])}
        elif word == "search":
            point = points.setdefault(int(rest[0]), {"set": data.name, "kind": "hnswlib", "ef": int(rest[0]), "k": 10})
            point.setdefault("inside_1", []).append(float(rest[2]))
        else:
            found.setdefault(int(rest[0]), {})[int(rest[1])] = [int(x) for x in rest[2:]]
    for ef, point in points.items():
        point["recall"] = round(data.recall(found[ef], 10), 4)
    return {"build": build, "points": list(points.values())}


def first_queries(server, data, kind, cold):
    """Milliseconds from the start of the postmaster to the first and the 1,000th answer, and what single queries took."""
    if kind == "empty":
        statement = "SELECT id FROM one ORDER BY l2_distance(v, '{1,2}') LIMIT 1"
    else:
        vector = f"(SELECT v FROM {source(data, 'query', kind)} WHERE id = %s)"
        statement = nearest(data, kind, "plain", 10, vector)
    if cold:
        server.drop_page_cache()
    start = time.monotonic()
    server.launch()
    connection = server.connect(wait=60, **({} if kind == "empty" else session(kind, 40)))
    connected = time.monotonic()
    times = []
    for number in range(1000):
        arguments = () if kind == "empty" else (1 + number % data.query.rows,)
        query(connection, statement, arguments)
        times.append(time.monotonic())
    connection.close()
    server.stop()
    spans = [b - a for a, b in zip([connected] + times, times)]
    return {"connected_ms": round(1000 * (connected - start), 2), "first_ms": round(1000 * (times[0] - start), 2),
            "thousandth_ms": round(1000 * (times[-1] - start), 2), "first_query_ms": round(1000 * spans[0], 2),
            "tenth_query_ms": round(1000 * spans[9], 2), "median_query_ms": round(1000 * sorted(spans)[500], 3)}


def latency_while_inserting(server, data, kind, ef, insert_script, seconds):
    """Latencies of one searching client, alone and while another one inserts without pause."""
    script = client_script(data, kind, "plain", 10)
    alone = server.pgbench(script, 1, seconds, session(kind, ef), log=True)
    inserted = {}
    writer = threading.Thread(target=lambda: inserted.update(
        server.pgbench(insert_script, 1, seconds + 1, {"synchronous_commit": "off"})))
    writer.start()
    time.sleep(0.5)
    loaded = server.pgbench(script, 1, seconds, session(kind, ef), log=True)
    writer.join()
    return {"alone": alone["latencies"], "inserting": loaded["latencies"], "inserts_per_second": inserted["tps"]}
