"""Making and drawing a transformer beside pyncd, the neural circuit diagrams of the paper's own authors.

pyncd (no licence, not on PyPI, Python 3.14) is measured where a checkout of it is given; nothing of it is in
this tree. It draws in a browser that a websocket server feeds, so of its way to a picture only the Python
half can be timed: constructing the diagram and exporting what the browser is sent. Ours is timed to the
whole picture. Both are the transformer of its `minimum_working_example.py`: embedding, six layers of masked
multi-head attention and feed-forward with residuals and norms, aggregator. Run it by hand on an idle machine:

    python tests/bench/pyncd.py [--checkout PATH] [--python PYTHON3.14]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from nbkit import block, embed, linear, norm, relu, skip, softmax
from nbkit.components import self_attention
from nbkit.language import Fn

_THEIRS = """
import contextlib, io, json, statistics, sys, time
sys.path.insert(0, ".")
import minimum_working_example as example
from data_transfer import json as transfer
def median(run, times):
    run()
    seconds = []
    for _ in range(times):
        start = time.perf_counter(); run(); seconds.append(time.perf_counter() - start)
    return round(1e3 * statistics.median(seconds), 2)
times = int(sys.argv[1])
made = example.transformer()
print(json.dumps({"construct_ms": median(example.transformer, times),
                  "export_ms": median(lambda: transfer.TermJSONConverter.export(made, "/dev/null"), times)}))
"""


def transformer() -> Fn:
    """The transformer of pyncd's example in our language."""
    attend = block("attention", (skip + self_attention(causal=True)) >> norm("m"))
    think = block("feed_forward", (skip + (linear("m -> d") >> relu >> linear("d -> m"))) >> norm("m"))
    layer = block("transformer_layer", attend >> think)
    aggregator = block("aggregator", linear("m -> v") >> softmax("v"))
    return embed("v -> m") >> layer**6 >> aggregator


def median(run: Callable[[], object], times: int) -> float:
    """Milliseconds, after one run that does not count."""
    run()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return round(1e3 * statistics.median(seconds), 2)


def main() -> None:
    """Prints one JSON line for us and one for pyncd."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=21)
    parser.add_argument("--checkout", help="a checkout of pyncd")
    parser.add_argument("--python", default=sys.executable, help="an interpreter that it runs on")
    options = parser.parse_args()
    made = transformer().on("N(v)[x]")
    ours = {
        "bench": "pyncd",
        "who": "nbkit",
        "construct_ms": median(lambda: transformer().on("N(v)[x]"), options.times),
        "json_ms": median(made.json, options.times),
        "svg_ms": median(made.svg, options.times),
    }
    print(json.dumps(ours), flush=True)
    theirs: dict[str, object] = {"bench": "pyncd", "who": "pyncd"}
    if options.checkout is None:
        theirs["skipped"] = "no --checkout"
    else:
        run = subprocess.run(
            [options.python, "-c", _THEIRS, str(options.times)],
            cwd=options.checkout,
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode == 0:
            theirs |= json.loads(run.stdout.strip().splitlines()[-1])
        else:
            theirs["failed"] = run.stderr.strip().splitlines()[-1]
    print(json.dumps(theirs))


if __name__ == "__main__":
    main()
