"""The dashboard of the workers."""

from deploy.grafana.layout import Dashboard
from deploy.grafana.panels import RATE, Query, curves, quantile

CLUSTER = Dashboard(
    "batchgrad-cluster",
    "batchgrad: cluster",
    "The Ray workers of all jobs: who is there, who went, what travels.",
    (
        (
            "Who is there",
            (
                curves(
                    "Nodes",
                    "Ray's nodes as running jobs see them: busy with a worker, or idle. Idle ones "
                    "while jobs wait: see the runbook. Nothing is known of nodes while no job "
                    "runs on Ray.",
                    "short",
                    Query("sum by (state) (batchgrad_cluster_nodes)", "{{state}}"),
                    stacked=True,
                ),
                curves(
                    "Workers",
                    "Ray workers of running jobs. Starting for long: the cluster has no room.",
                    "short",
                    Query("sum by (state) (batchgrad_workers)", "{{state}}"),
                    stacked=True,
                ),
                curves(
                    "Workers lost",
                    "In a minute: killed, crashed, or silent for too long. Others compute what "
                    "they held, in the same step, to the same bits.",
                    "short",
                    Query("sum(increase(batchgrad_workers_lost_total[1m]))", "workers"),
                ),
            ),
        ),
        (
            "What travels",
            (
                curves(
                    "Bytes a second",
                    "Parameters out, sums in, by the way they take. Inline jobs send none.",
                    "binBps",
                    Query(
                        "sum by (direction, transport) "
                        f"(rate(batchgrad_bytes_transferred_total{RATE}))",
                        "{{direction}} by {{transport}}",
                    ),
                ),
                curves(
                    "Bytes an example",
                    "What an example costs in traffic. Larger minibatches and fewer workers make "
                    "it less.",
                    "bytes",
                    Query(
                        "sum by (direction) "
                        f"(rate(batchgrad_bytes_transferred_total{RATE}))"
                        " / on () group_left () "
                        f"sum(rate(batchgrad_job_examples_total{RATE}))",
                        "{{direction}}",
                    ),
                ),
                curves(
                    "Microbatches computed again",
                    "In a minute, by what became of their worker. Without an end: the retry storm "
                    "of the runbook.",
                    "short",
                    Query(
                        "sum by (reason) (increase(batchgrad_microbatch_retries_total[1m]))",
                        "{{reason}}",
                    ),
                ),
            ),
        ),
        (
            "Phases of all jobs' steps",
            (
                curves(
                    "Part of the time",
                    "compute is what workers are for. A growing reduce or shard says that there "
                    "are too many workers for so small a step.",
                    "percentunit",
                    Query(
                        f"sum by (phase) (rate(batchgrad_step_phase_duration_seconds_sum{RATE}))"
                        " / on () group_left () "
                        f"sum(rate(batchgrad_step_phase_duration_seconds_sum{RATE}))",
                        "{{phase}}",
                    ),
                    stacked=True,
                    limits=(0, 1),
                ),
                curves(
                    "Median",
                    "Half of all steps spent less in the phase.",
                    "s",
                    quantile(0.5, "batchgrad_step_phase_duration_seconds", "phase"),
                    log=True,
                ),
                curves(
                    "99%",
                    "All but a hundredth of steps spent less. Far above the median in compute: "
                    "a slow or busy node now and then.",
                    "s",
                    quantile(0.99, "batchgrad_step_phase_duration_seconds", "phase"),
                    log=True,
                ),
            ),
        ),
    ),
)
