# SPDX-License-Identifier: LGPL-2.1-or-later
"""report.html: one page with what results.json says, as plots (gnuplot, inline SVG) and a table."""
import html
import json
import os
import re
import shutil
import subprocess
import tempfile

from process import Failure

COLOURS = ("#888888", "#c44e52", "#dd8452", "#55a868", "#8172b3", "#1f77b4")
BAR_ROWS_MAX = 200

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 1rem;
       color: #222; background: #fff; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
svg { width: 100%; height: auto; display: block; }
.one { max-width: 45rem; }
.bars { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr));
        gap: 1rem; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
td, th { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #ddd; }
td:first-child, th:first-child { text-align: left; } .best { font-weight: bold; }
"""


def plot(commands, data):
    """The SVG that gnuplot makes; `data` are the lines of $data."""
    if not shutil.which("gnuplot"):
        raise Failure("gnuplot is missing: apt-get install gnuplot-nox")
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "plot")
        with open(path, "w", encoding="utf-8") as file:
            file.write("$data << END\n" + "\n".join(data) + "\nEND\n" + commands)
        result = subprocess.run(["gnuplot", path], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise Failure(f"gnuplot: {result.stderr.strip().splitlines()[-1:]}")
    # Only the drawing, scaled by the page; ids would clash between drawings.
    svg = result.stdout[result.stdout.index("<svg"):]
    svg = re.sub(r'<svg\s+width="(\d+)" height="(\d+)"', r'<svg role="img"', svg, count=1)
    unique = f"p{plot.count}-"
    plot.count += 1
    svg = re.sub(r'\bid="', f'id="{unique}', svg)
    svg = re.sub(r'(href=[\'"]#|url\(#)', rf"\g<1>{unique}", svg)
    return re.sub(r"<title>.*?</title>", "", svg, flags=re.S)


plot.count = 0


def terminal(width, height):
    return f"set terminal svg size {width},{height} dynamic font 'sans-serif,14' enhanced\n"


def colour_of(allocators, name):
    return COLOURS[allocators.index(name) % len(COLOURS)]


def quoted(text):
    return '"' + text.replace('"', "").replace("_", r"\\_") + '"'


def pareto(results, group):
    lines = [line for line in results["overall"]
             if line["group"] == group and line["vs_best_peer"] and line["memory_vs_glibc"]]
    if not lines:
        return ""
    names = [allocator["name"] for allocator in results["allocators"]]
    data = [f"{1 / line['vs_best_peer']:.4f} {line['memory_vs_glibc']:.4f} "
            f"{quoted(line['allocator'])} {int(colour_of(names, line['allocator'])[1:], 16)}"
            for line in lines]
    return plot(terminal(460, 400) + """
set xlabel 'time, against the best peer (less is better)'
set ylabel 'peak memory, against glibc (less is better)'
set grid lc rgb '#dddddd'
set offsets graph 0.1, graph 0.25, graph 0.1, graph 0.1
unset key
plot $data using 1:2:4 with points pt 7 ps 1.5 lc rgb variable, \
     $data using 1:2:3 with labels left offset 1,0
""", data)


def bars(results, test):
    rows = [row for row in results["summary"] if row["test"] == test and not row["error"]]
    best = max((row["metrics"].get("throughput", 0) for row in rows), default=0)
    if not best:
        return ""
    names = [allocator["name"] for allocator in results["allocators"]]
    data = [f"{i} {best / row['metrics']['throughput']:.4f} "
            f"{row['metrics'].get('peak_rss_bytes', 0) / 2**20:.2f} {quoted(row['allocator'])} "
            f"{int(colour_of(names, row['allocator'])[1:], 16)}" for i, row in enumerate(rows)]
    most = max(best / row["metrics"]["throughput"] for row in rows)
    return plot(terminal(420, 300) + f"""
set title {quoted(test)}
set ylabel 'time against the best'
set style fill solid
set boxwidth 0.7
set yrange [0:{min(most, 4) * 1.15:.3f}]
set xrange [-0.6:{len(rows) - 0.4}]
set xtics rotate by -35
set grid y lc rgb '#dddddd'
unset key
plot $data using 1:2:5:xtic(4) with boxes lc rgb variable, \
     $data using 1:($2 < 4 ? $2 : 4):(sprintf('%.0f M', $3)) with labels offset 0,0.6
""", data)


def over_threads(results):
    """Throughput against the number of threads, for tests named NAME@THREADS."""
    series = {}
    for row in results["summary"]:
        name, has_threads, threads = row["test"].partition("@")
        if has_threads and not row["error"]:
            series.setdefault(name, {}).setdefault(row["allocator"], []).append(
                (int(threads), row["metrics"]["throughput"]))
    names = [allocator["name"] for allocator in results["allocators"]]
    drawings = []
    for name, lines in series.items():
        data, parts = [], []
        for index, (allocator, points) in enumerate(lines.items()):
            data += [f"{threads} {value}" for threads, value in sorted(points)] + ["", ""]
            parts.append(f"$data index {index} using 1:2 with linespoints pt 7 lw 2 "
                         f"lc rgb '{colour_of(names, allocator)}' title {quoted(allocator)}")
        drawings.append(plot(terminal(420, 320) + f"""
set title {quoted(name)}
set logscale x 2
set xlabel 'threads'
set ylabel 'operations a second'
set format y '%.0s %c'
set yrange [0:*]
set key below
set grid lc rgb '#dddddd'
plot """ + ", ".join(parts) + "\n", data))
    return drawings


def latencies(results):
    parts = ("p50", "p90", "p99", "p999", "p9999", "max")
    names = [allocator["name"] for allocator in results["allocators"]]
    drawings = []
    for test in results["tests"]:
        rows = [row for row in results["summary"] if row["test"] == test["name"]
                and "malloc_p50_ns" in row["metrics"]]
        for call in ("malloc", "free") if rows else ():
            data, lines = [], []
            for index, row in enumerate(rows):
                data += [f"{i} {max(row['metrics'][f'{call}_{part}_ns'], 1)}"
                         for i, part in enumerate(parts)] + ["", ""]
                lines.append(f"$data index {index} using 1:2 with linespoints pt 7 lw 2 lc rgb "
                             f"'{colour_of(names, row['allocator'])}' "
                             f"title {quoted(row['allocator'])}")
            drawings.append(plot(terminal(420, 320) + f"""
set title '{test["name"]}: one {call}'
set logscale y
set ylabel 'nanoseconds'
set xrange [-0.3:5.3]
set xtics ('p50' 0, 'p90' 1, 'p99' 2, 'p99.9' 3, 'p99.99' 4, 'max' 5)
set key below
set grid lc rgb '#dddddd'
plot """ + ", ".join(lines) + "\n", data))
    return drawings


def table(results):
    names = [allocator["name"] for allocator in results["allocators"]]
    rows = []
    for test in results["tests"]:
        cells = [f"<td>{html.escape(test['name'])}</td>"]
        for name in names:
            row = next(row for row in results["summary"]
                       if row["test"] == test["name"] and row["allocator"] == name)
            if row["error"]:
                cells.append(f'<td title="{html.escape(row["error"])}">failed</td>')
            else:
                memory = row["metrics"].get("peak_rss_bytes", 0) / 2**20
                cells.append(f"<td>{row['metrics']['throughput']:,.4g}<br>{memory:,.1f} M</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    heads = "".join(f"<th>{html.escape(name)}</th>" for name in ["", *names])
    return f'<div class="table"><table><tr>{heads}</tr>{"".join(rows)}</table></div>'


def section(title, drawings, style=""):
    shown = "".join(f"<div>{drawing}</div>" for drawing in drawings if drawing)
    return f'<h2>{html.escape(title)}</h2><div class="{style}">{shown}</div>' if shown else ""


def write_report(path, results_path):
    with open(results_path, encoding="utf-8") as file:
        results = json.load(file)
    machine = results["machine"]
    groups = list(dict.fromkeys(line["group"] for line in results["overall"]))
    parts = [
        "<h1>Memory allocators compared</h1>",
        f"<p>{html.escape(results['started'])}, {machine['cpus']} processors "
        f"({html.escape(machine['cpu_model'])}), Linux {html.escape(machine['kernel'])}. Medians of "
        f"{results['rounds']} interleaved rounds.</p>",
        *(section(f"Time and memory: {group} tests", [pareto(results, group)], "one")
          for group in groups),
        section("Each test: time, with peak memory in MiB above", [
            bars(results, test["name"]) for test in results["tests"][:BAR_ROWS_MAX]
            if "@" not in test["name"]], "bars"),
        section("Throughput over threads", over_threads(results), "bars"),
        section("Latency", latencies(results), "bars"),
        "<h2>Operations a second, and peak memory</h2>", table(results),
    ]
    page = ("<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">"
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
            f"<title>Memory allocators compared</title><style>{STYLE}</style></head><body>"
            + "".join(parts) + "</body></html>\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write(page)
