"""`batchgrad events`: each type of event as a sentence, and as data."""

import json
import signal
import threading
from collections.abc import Iterator
from typing import Any

import httpx2


def test_events_are_printed_as_sentences(kit: Any, run: Any) -> None:
    progress = {
        "step": 7,
        "steps_planned": 18,
        "epoch": 1,
        "loss": 0.25,
        "shortcuts": {"averaged_error": 0.5},
        "gradient_norm": 1.5,
        "examples_per_second": 1234.5,
    }
    plan = {
        "training_examples": 1438,
        "parameters": 4810,
        "steps_planned": 180,
        "microbatches_per_step": 4,
        "microbatch_size": 64,
    }
    executor = {
        "executor": "ray",
        "workers": 2,
        "threads": 4,
        "because": "Ray wins",
        "milliseconds": {"inline, 1 thread": 300.0, "Ray": 100.0},
    }
    best = {"step": 7, "parameters_digest": "sha256:ab"}
    events_sent = [
        ("state", {"status": "queued", "reason": None}),
        ("plan", plan),
        ("executor", executor),
        ("progress", progress),
        ("checkpoint", {"step": 7, "bytes": 40960, "parameters_digest": "sha256:" + "ab" * 32}),
        ("evaluation", {"step": 7, "validation_loss": 0.5, "validation_accuracy": None}),
        ("evaluation", {"step": 9, "validation_loss": 0.4, "best": True}),
        ("checkpoint", {"step": 9, "bytes": 40960, "parameters_digest": "sha256:cd", "best": best}),
        ("state", {"status": "failed", "reason": "nonfinite", "detail": "Example 3 overflowed."}),
        ("retry", {"reason": "died", "microbatches": 3}),
        ("retry", {"reason": "slow", "microbatches": 1}),
        ("retry", {"reason": "silent", "microbatches": 2}),
        ("retry", {"reason": "stuck", "microbatches": 2}),
        ("retry", {"new": {"from": None}}),
    ]
    events = [
        {"seq": seq, "time": kit.TIME, "type": kind, "data": data}
        for seq, (kind, data) in enumerate(events_sent, start=1)
    ]
    script = kit.Script(kit.answer(200, {"data": events, "next": None}))
    lines = run(script, "events", "job_1").stdout.splitlines()
    assert lines[0].split() == ["1", "2026-01-02", "03:04:05", "state", "queued"]
    assert [line.split(None, 4)[-1] for line in lines] == [
        "queued",
        "180 steps over 1438 examples, 4810 parameters, 4 microbatches of 64 a step",
        "2 Ray workers x 4 threads: Ray wins (one step: inline, 1 thread: 300 ms, Ray: 100 ms)",
        "step 7: 40 KiB, parameters sha256:abababababab",
        "step 7: validation loss 0.5",
        "step 9: validation loss 0.4: the best so far",
        "step 9: 40 KiB, parameters sha256:cd, the best ones after step 7: sha256:ab",
        "failed: nonfinite. Example 3 overflowed.",
        "3 microbatches computed again: a worker died",
        "1 microbatch computed again: a worker was slow",
        "2 microbatches computed again: a worker answered no ping",
        "2 microbatches computed again: a worker answered pings, but not its request",
        'new {"from": null}',
    ]
    everything = run(script, "events", "job_1", "--progress").stdout
    assert "step 7/18, epoch 1: loss 0.25, gap of averaged_error 0.5, 1,234 ex" in everything
    as_json = run(script, "events", "job_1", "--progress", "-o", "json").stdout.splitlines()
    assert [json.loads(line)["seq"] for line in as_json] == [*range(1, 15)]


def test_following_a_silent_stream_stops_after_the_time(kit: Any, run: Any) -> None:
    class Silent(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b": hello\n\n"
            threading.Event().wait(60)

    headers = {"Content-Type": "text/event-stream"}
    script = kit.Script(httpx2.Response(200, stream=Silent(), headers=headers))
    before = signal.getsignal(signal.SIGALRM)
    done = run(script, "events", "job_1", "--follow", "--timeout", "0.1")
    assert done.exit_code == 101
    assert "Job job_1 had not ended after 0.1 s; it goes on." in done.stderr
    assert "batchgrad wait job_1" in done.stderr
    assert signal.getsignal(signal.SIGALRM) == before
