"""From the results to a table of targets (Markdown) and plots (gnuplot). `python3 report.py DIR` does it again for
DIR/bench.json."""

import json
import math
import os
import subprocess
import sys
from statistics import median

NAMES = {"ours": "vecckpt", "theirs": "pgvector", "none": "no index", "hnswlib": "hnswlib, no SQL"}
STORAGES = {"plain": "PLAIN", "default": "default"}
HIGH_DIMS = 512  # from here on the targets for 768 dimensions count


def rate_at(points, goal, way):
    """Queries a second where the curve passes a recall, interpolated in the logarithm: (rate, note). None if it never does."""
    curve = sorted(((p["recall"], median(p[way])) for p in points if p.get(way)))
    if not curve or curve[-1][0] < goal:
        return None, f"reached only {curve[-1][0]:.3f}" if curve else "not measured"
    above = next(i for i, (recall, _) in enumerate(curve) if recall >= goal)
    # The fastest point with at least that recall may lie farther on.
    best = max(rate for recall, rate in curve if recall >= goal)
    if above == 0:
        return best, f"recall {curve[0][0]:.3f} at the smallest ef_search"
    (low, fast), (high, slow) = curve[above - 1], curve[above]
    part = (goal - low) / (high - low)
    return max(best, math.exp(math.log(fast) + part * (math.log(slow) - math.log(fast)))), ""


class Table:
    """Rows of measure, ours, the other's, their ratio, target and verdict."""

    def __init__(self):
        self.rows = []

    def add(self, measure, ours, other, show, target=None, at_most=None, note=""):
        """target: ours / other must reach it; at_most: ours / other must not exceed it; neither: only reported."""
        if ours is None or other is None or not other:
            cells = [show(ours) if ours is not None else "–", show(other) if other is not None else "–", "–"]
            verdict = "not decided" if target or at_most else ""
        else:
            ratio = ours / other
            cells = [show(ours), show(other), f"{ratio:.3g} ×"]
            verdict = ""
            if target or at_most:
                verdict = "met" if (ratio >= target if target else ratio <= at_most) else "**missed**"
        wanted = f"≥ {target:g} ×" if target else f"≤ {at_most:.3g} ×" if at_most else ""
        self.rows.append([measure] + cells + [wanted, " ".join(filter(None, (verdict, f"({note})" if note else "")))])

    def add_limit(self, measure, ours, other, difference, limit, show, unit=""):
        verdict = "met" if difference <= limit else "**missed**"
        self.rows.append([measure, show(ours), show(other), f"{difference:+.1f}{unit}", f"≤ {limit:+g}{unit}", verdict])

    def text(self):
        lines = ["| measure | vecckpt | compared with | ratio | target | result |", "|---|---|---|---|---|---|"]
        return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in self.rows])


def rate(number):
    return f"{number:,.0f}/s"


def milliseconds(number):
    return f"{number:,.2f} ms" if number < 100 else f"{number:,.0f} ms"


def seconds(number):
    return f"{number:,.2f} s" if number < 100 else f"{number:,.0f} s"


def megabytes(number):
    return f"{number / 2**20:,.0f} MB"


def select(rows, **wanted):
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def middle(rows, field):
    return median(row[field] for row in rows) if rows else None


def rates(points, goal, way):
    """(ours, theirs, note)"""
    found = {kind: rate_at(select(points, kind=kind), goal, way) for kind in ("ours", "theirs")}
    notes = [f"{NAMES[kind]}: {note}" for kind, (_, note) in found.items() if note]
    return found["ours"][0], found["theirs"][0], ", ".join(notes)


def add_searches(table, results, name, info):
    high = info["dims"] >= HIGH_DIMS
    cores = results["machine"]["cores"]
    ways = (("inside_1", "inside the server, 1 client", 10 if high else 5),
            ("inside_cores", f"inside the server, {cores} clients", 10 if high else 5),
            ("client_1", "through 1 client", 7 if high else 4),
            ("client_cores", f"through {cores} clients", 7 if high else 4))
    for storage in STORAGES:
        points = select(results["points"], set=name, k=10, storage=storage)
        for goal in (0.95, 0.99):
            for way, text, target in ways:
                if not any(p.get(way) for p in points):
                    continue
                ours, theirs, note = rates(points, goal, way)
                table.add(f"queries/s at recall@10 = {goal}, {text}, {STORAGES[storage]} storage", ours, theirs, rate,
                          target, note=note)
    points = select(results["points"], set=name, k=100, storage="plain")
    for goal, target in ((0.95, 4), (0.99, None)):
        ours, theirs, note = rates(points, goal, "inside_1")
        table.add(f"queries/s at recall@100 = {goal}, LIMIT 100, inside the server, 1 client", ours, theirs, rate, target,
                  note=note)
    if name in results["raw"]:
        ours, _ = rate_at(select(results["points"], set=name, k=10, storage="plain", kind="ours"), 0.95, "inside_1")
        raw, note = rate_at(results["raw"][name]["points"], 0.95, "inside_1")
        table.add("queries/s at recall@10 = 0.95, inside the server, against hnswlib in process (float, 1 thread)", ours, raw,
                  rate, 1.5 if high else 1.0, note=note)


def add_builds(table, results, name, info):
    builds = {kind: select(results["builds"], set=name, kind=kind, storage="plain") for kind in ("ours", "theirs")}
    table.add("CREATE INDEX", middle(builds["ours"], "seconds"), middle(builds["theirs"], "seconds"), seconds, at_most=1 / 6)
    if name in results["raw"]:
        table.add("CREATE INDEX, against hnswlib in process (float, one thread a core)", middle(builds["ours"], "seconds"),
                  results["raw"][name]["build"]["seconds"], seconds)
    table.add("peak memory of CREATE INDEX (private and dynamic shared)", middle(builds["ours"], "total_bytes"),
              middle(builds["theirs"], "total_bytes"), megabytes)
    if builds["ours"]:
        peak, limit = max(run["anonymous_bytes"] for run in builds["ours"]), (1024 + 64) * 2**20
        table.rows.append(["peak private memory of our CREATE INDEX, against maintenance_work_mem", megabytes(peak),
                           "1,024 MB", "–", "≤ + 64 MB", "met" if peak <= limit else "**missed**"])
    sizes = {kind: next(iter(select(results["sizes"], set=name, kind=kind)), None) for kind in ("ours", "theirs")}
    if not all(sizes.values()):
        return
    high = info["dims"] >= HIGH_DIMS
    table.add("index bytes (log and files)", sizes["ours"]["total"], sizes["theirs"]["total"], megabytes,
              at_most=1.05 if high else None)
    table.add("bytes a vector that a search needs resident (segment files, against pgvector's index)",
              sizes["ours"]["files"] / info["rows"], sizes["theirs"]["total"] / info["rows"], lambda n: f"{n:,.0f}",
              at_most=1 / 3 if high else None)


def add_writes(table, results, name):
    for synchronous in (False, True):
        for clients in (1, 2, 8):
            runs = {kind: select(results["inserts"], set=name, kind=kind, clients=clients, synchronous_commit=synchronous)
                    for kind in ("ours", "theirs", "none")}
            if not runs["ours"]:
                continue
            text = (f"inserts/s, {clients} client{'s' if clients > 1 else ''}, synchronous_commit "
                    f"{'on' if synchronous else 'off'}")
            ours = middle(runs["ours"], "rate")
            table.add(text, ours, middle(runs["theirs"], "rate"), rate, None if synchronous else 20)
            table.add(text + ", against no index", ours, middle(runs["none"], "rate"), rate, None if synchronous else 0.5)
            p99 = {kind: median(r["latency_ms"]["p99"] for r in runs[kind]) for kind in runs}
            table.add(text + ": p99 latency", p99["ours"], p99["theirs"], milliseconds)
            if clients == 1 and not synchronous:
                wal = {kind: middle(runs[kind], "wal_bytes_per_row") for kind in runs}
                table.add("WAL bytes an insert, table included (full page images included)", wal["ours"], wal["theirs"],
                          lambda n: f"{n:,.0f}")
    if results["wal"] and select(results["inserts"], set=name):
        show = lambda n: f"{n:,.0f}"
        table.add("WAL bytes an insert, table included, without full page images", results["wal"]["ours"],
                  results["wal"]["theirs"], show)
        table.add("the same, against no index", results["wal"]["ours"], results["wal"]["none"], show)
    runs = {kind: select(results["while_inserting"], set=name, kind=kind) for kind in ("ours", "theirs")}
    if runs["ours"]:
        for text, field, limit in (("while 1 client inserts", "inserting_ms", 1 / 4), ("alone", "alone_ms", None)):
            p99 = {kind: median(run[field]["p99"] for run in runs[kind]) for kind in runs}
            efs = ", ".join(f"ef_search {runs[kind][0]['ef']}" for kind in runs)
            table.add(f"p99 search latency, {text} ({efs})", p99["ours"], p99["theirs"], milliseconds, at_most=limit)
        table.add("inserts/s of that client", middle(runs["ours"], "inserts_per_second"),
                  middle(runs["theirs"], "inserts_per_second"), rate)
    runs = {kind: select(results["vacuum"], set=name, kind=kind) for kind in ("ours", "theirs", "none")}
    if runs["ours"]:
        note = "" if all(run["finished"] for run in runs["theirs"]) else "pgvector's was given up"
        taken = {kind: middle(runs[kind], "seconds") for kind in runs}
        table.add("VACUUM after 10 % deletes", taken["ours"], taken["theirs"], seconds, at_most=1 / 200, note=note)
        table.add("VACUUM after 10 % deletes, against no index", taken["ours"], taken["none"], seconds)


def add_starts(table, results, name):
    for cold in (False, True):
        runs = {kind: select(results["start"], set=name, kind=kind, cold=cold) for kind in ("ours", "theirs", "empty")}
        if not runs["ours"]:
            continue
        cache = "page cache dropped" if cold else "warm page cache"
        for field, text in (("first_ms", "first"), ("thousandth_ms", "1,000th")):
            times = {kind: middle(runs[kind], field) for kind in runs}
            if field == "first_ms":
                table.add_limit(f"start to {text} query, {cache}, against an empty server", times["ours"], times["empty"],
                                times["ours"] - times["empty"], 50, milliseconds, " ms")
            else:
                table.add(f"start to {text} query, {cache}, against an empty server", times["ours"], times["empty"],
                          milliseconds)
            table.add(f"start to {text} query, {cache}", times["ours"], times["theirs"], milliseconds)
        for field, text in (("first_query_ms", "first"), ("tenth_query_ms", "tenth"), ("median_query_ms", "median")):
            table.add(f"the {text} query's own time after a start, {cache}", middle(runs["ours"], field),
                      middle(runs["theirs"], field), milliseconds)


def curves(results, name):
    """Markdown: every measured point."""
    lines = ["| LIMIT | storage | ef_search | vecckpt: recall | queries/s | pgvector: recall | queries/s |",
             "|---|---|---|---|---|---|---|"]
    points = select(results["points"], set=name)
    measured = {(p["k"], p["storage"] != "plain", p["storage"], p["ef"]) for p in points}
    for k, _, storage, ef in sorted(measured):
        cells = [str(k), storage, str(ef)]
        for kind in ("ours", "theirs"):
            found = select(points, kind=kind, k=k, storage=storage, ef=ef)
            cells += [f"{found[0]['recall']:.4f}" if found else "",
                      f"{median(found[0]['inside_1']):,.0f}" if found and found[0].get("inside_1") else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(results, output):
    machine = results["machine"]
    text = [f"# vecckpt and pgvector side by side\n\n{'A quick run with fewer rows. ' if results['quick'] else ''}"
            f"Measured {results['date']} on {machine['cores']} cores of {machine['cpu']}, {machine['memory_gb']} GB, Linux "
            f"{machine['kernel']}: PostgreSQL {machine['postgresql']}, vecckpt {machine['vecckpt']}, pgvector "
            f"{machine['pgvector']}; {', '.join(machine['packages'])}.",
            f"Both indexes: m = {results['m']}, ef_construction = {results['ef_construction']}"
            + (f"; ours also: {results['our_with']}" if results["our_with"] else "")
            + ". Settings: " + ", ".join(f"{name} = {value}" for name, value in results["settings"].items()) + ".",
            f"Medians of {results['repeat']} repetition(s), of CREATE INDEX {results['build_repeat']}; both take turns in each. "
            "Values of ef_search away from the wanted recalls are timed once. Rates at a recall are interpolated between "
            "measured values of ef_search. A target is a ratio of vecckpt's figure to the other one in the same run. "
            f"The whole run took {results['minutes']} minutes."]
    for failure in results["failures"]:
        text.append(f"**The phase {failure['phase']} failed: {failure['error']}**")
    for name, info in results["sets"].items():
        table = Table()
        add_searches(table, results, name, info)
        add_builds(table, results, name, info)
        add_writes(table, results, name)
        add_starts(table, results, name)
        text.append(f"## {info['label']}: {info['rows']:,} × {info['dims']}, {info['metric']}, {info['queries']} queries\n\n"
                    + table.text())
        text.append("Recall and queries/s inside the server, 1 client:\n\n" + curves(results, name))
        text.append(f"![recall@10 against queries/s](recall-{info['label']}-10.svg)\n![recall@100 against queries/s]"
                    f"(recall-{info['label']}-100.svg)")
    if results["inserts"]:
        text.append("![latency of single-row inserts](insert-latency.svg)")
    with open(os.path.join(output, "bench.md"), "w") as file:
        file.write("\n\n".join(text) + "\n")
    plot(results, output)


def plot(results, output):
    for name, info in results["sets"].items():
        for k in (10, 100):
            lines = []
            for kind in ("ours", "theirs"):
                points = select(results["points"], set=name, kind=kind, k=k, storage="plain")
                lines.append((NAMES[kind], [(p["recall"], median(p["inside_1"])) for p in points if p.get("inside_1")]))
            if k == 10 and name in results["raw"]:
                points = results["raw"][name]["points"]
                lines.append((NAMES["hnswlib"], [(p["recall"], median(p["inside_1"])) for p in points]))
            title = f"{info['label']}, {info['rows']:,} rows of {info['dims']} dimensions, LIMIT {k}, 1 client"
            draw(output, f"recall-{info['label']}-{k}", title, f"recall@{k}", "queries/s, inside the server", lines,
                 "set xrange [0.7:1]")
    lines = []
    for kind in ("ours", "theirs", "none"):
        for clients in (1, 8):
            runs = select(results["inserts"], kind=kind, clients=clients, synchronous_commit=False)
            samples = sorted(s for run in runs for s in run["samples"])
            lines.append((f"{NAMES[kind]}, {clients} client{'s' if clients > 1 else ''}",
                          [(100 * (i + 0.5) / len(samples), s) for i, s in enumerate(samples)]))
    if any(points for _, points in lines):
        draw(output, "insert-latency", "Latency of single-row inserts, synchronous_commit off", "percentile", "ms", lines,
             "set xrange [0:100]", "lines lw 2")


def draw(output, name, title, x, y, lines, more, style="linespoints lw 2 pt 7 ps 0.6"):
    """One plot as SVG and PNG; lines: (title, [(x, y)])."""
    lines = [(text, sorted(points)) for text, points in lines if points]
    if not lines:
        return
    script, drawn = "", []
    for i, (text, points) in enumerate(lines):
        script += f"$d{i} << EOD\n" + "".join(f"{a} {b}\n" for a, b in points) + "EOD\n"
        drawn.append(f'$d{i} using 1:2 with {style} title "{text}"')
    drawn = ", ".join(drawn)
    script += f'set title "{title}"\nset xlabel "{x}"\nset ylabel "{y}"\nset logscale y\nset format y "%.10g"\n'
    script += f"set grid\nset key outside right\n{more}\n"
    for terminal, end in (("svg noenhanced size 800,480 font 'DejaVu Sans,12' background 'white'", "svg"),
                          ("pngcairo noenhanced size 1200,720 font 'DejaVu Sans,14'", "png")):
        script += f'set terminal {terminal}\nset output "{name}.{end}"\nplot {drawn}\n'
    subprocess.run(["gnuplot"], input=script, text=True, check=True, cwd=output)


if __name__ == "__main__":
    with open(os.path.join(sys.argv[1], "bench.json")) as results_file:
        write(json.load(results_file), sys.argv[1])
