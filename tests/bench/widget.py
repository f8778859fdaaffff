"""What the session widget costs: steps per second and CPU, against a bare loop, in a real kernel, no browser.

In the browser's place a client takes in every frame and acknowledges it, so that messages are really sent.
Within a round the kinds alternate in random order; the ratios are medians over rounds. Run by hand:
`python tests/bench/widget.py [ROUNDS] [SECONDS]`. Prints JSON lines.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.widgets.kernel import KernelPage, PageState, kernel_page

SETUP = """
import numpy as np
from nbkit.tasks import modular_arithmetic

class Addition(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.hidden, self.out = nn.Embedding(97, 64), nn.Linear(128, 256), nn.Linear(256, 97)
    def forward(self, x):
        return self.out(self.hidden(self.embed(x[:, :2]).flatten(1)).square())

def small():
    layers = nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2)
    return nn.Sequential(*layers), spirals(n=512)

def large():
    return Addition(), modular_arithmetic(p=97, fraction=0.4)

def bare(make, seconds):
    # A loop as a careful person writes it by hand, in a thread, keeping its losses.
    result = {}
    def loop():
        torch.set_num_threads(1)
        model, task = make()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
        inputs, targets = task.train
        losses, step = [], 0
        cpu, whole, start = time.thread_time(), time.process_time(), time.perf_counter()
        while time.perf_counter() - start < seconds:
            optimizer.zero_grad()
            loss = task.loss(model(inputs), targets)
            losses.append(loss.item())
            loss.backward()
            optimizer.step()
            step += 1
        result.update(rate=step / (time.perf_counter() - start), cpu=(time.thread_time() - cpu) / step,
                      whole=(time.process_time() - whole) / step)
    thread = threading.Thread(target=loop)
    thread.start()
    thread.join()
    return result

def attach(make):
    global s, w
    model, task = make()
    s = nk.Session(model, task, nk.Recipe(lr=1e-3, threads=1, eval_every=10**9), name="bench")
    w = s.show()

def cpu_of(thread):
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))

def trained(seconds):
    s.step(2)
    trainer = s._engine.thread
    named = [t for t in threading.enumerate() if t.name == "nbkit publishing bench"]
    publisher = named[-1] if w and named else None  # the one of the round before may still be ending
    before, publishing = cpu_of(trainer), cpu_of(publisher) if publisher else 0.0
    frames, count, start = w._feed.frame if w else 0, s.step_count, time.perf_counter()
    whole = time.process_time()
    s.play()
    time.sleep(seconds)
    done, cpu, span = s.step_count - count, cpu_of(trainer) - before, time.perf_counter() - start
    whole = time.process_time() - whole
    sent = (w._feed.frame if w else 0) - frames
    publishing = (cpu_of(publisher) if publisher else 0.0) - publishing
    s.close()
    return {"rate": done / span, "cpu": cpu / done, "whole": whole / done, "frames": sent / span,
            "publisher_ms_per_frame": 1e3 * publishing / sent if sent else None}
"""
DETACH = "s._publisher._subscribers = (); w.close(); w = None; time.sleep(0.1)"


def measure(page: KernelPage, kind: str, model: str, seconds: float) -> dict[str, float]:
    """One run: "bare" loop, "session" without a view, or "widget" with a page that listens."""
    if kind == "bare":
        found: dict[str, float] = page.value(f"bare({model}, {seconds})")
        return found
    page.state = PageState()
    page.execute(f"attach({model})")
    if kind == "widget":
        page.hello()
    else:
        page.execute(DETACH)
    found = page.value(f"trained({seconds})")
    if kind == "widget":
        sizes = [size for *_, size in page.state.frames[1:]]
        found["bytes_per_frame"] = sum(sizes) / len(sizes)
        page.execute("w.close()")
    return found


def main(rounds: int, seconds: float) -> None:
    """Measure and print."""
    kinds = ["bare", "session", "widget"]
    with kernel_page() as page:
        page.execute(SETUP)
        page.open_subshell()  # as JupyterLab does: acknowledgements are heard while a cell is executed
        for model in ("small", "large"):
            runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
            for _ in range(rounds):
                for kind in random.sample(kinds, len(kinds)):
                    runs[kind].append(measure(page, kind, model, seconds))
            widget = runs["widget"]
            frames = median(run["frames"] for run in widget)
            extra = [
                (a["cpu"] - b["cpu"]) * a["rate"] / a["frames"] * 1e3
                for a, b in zip(widget, runs["session"], strict=True)
            ]
            line = {
                "bench": "widget",
                "model": model,
                **{f"{kind}_steps_per_s": round(median(r["rate"] for r in runs[kind]), 1) for kind in kinds},
                "widget_vs_bare": ratio(widget, runs["bare"]),
                "widget_vs_session": ratio(widget, runs["session"]),
                "session_vs_bare": ratio(runs["session"], runs["bare"]),
                "training_thread_cpu_per_step_vs_bare": ratio(widget, runs["bare"], "cpu"),
                "kernel_cpu_per_step_vs_session": ratio(widget, runs["session"], "whole"),
                "kernel_cpu_per_step_vs_bare": ratio(widget, runs["bare"], "whole"),
                "frames_per_s": round(frames, 1),
                "training_thread_cpu_ms_per_frame": round(median(extra), 3),
                "publisher_cpu_ms_per_frame": round(median(r["publisher_ms_per_frame"] for r in widget), 3),
                "bytes_per_frame": round(median(r["bytes_per_frame"] for r in widget)),
                "rounds": rounds,
                "seconds": seconds,
            }
            print(json.dumps(line), flush=True)


def ratio(above: list[dict[str, float]], below: list[dict[str, float]], what: str = "rate") -> float:
    """The median of the rounds' ratios, of steps per second if nothing else is said."""
    return round(median(a[what] / b[what] for a, b in zip(above, below, strict=True)), 3)


if __name__ == "__main__":
    arguments = [*sys.argv[1:], *["30", "1.0"][len(sys.argv) - 1 :]]
    main(int(arguments[0]), float(arguments[1]))
