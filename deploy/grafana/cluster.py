"""The dashboard of the Ray workers."""

from deploy.grafana.layout import Dashboard
from deploy.grafana.panels import RATE, Query, curves, quantile

CLUSTER = Dashboard(
    "batchgrad-cluster",
    "batchgrad: cluster",
    "The Ray workers of all jobs: nodes, losses and traffic.",
    (
        (
            "Nodes and workers",
            (
                curves(
                    "Nodes",
                    "Ray nodes as running jobs see them: busy with a worker, or idle. If nodes are "
                    "idle while jobs wait, see the runbook. No data while no job runs on Ray.",
                    "short",
                    Query("sum by (state) (batchgrad_cluster_nodes)", "{{state}}"),
                    stacked=True,
                ),
                curves(
                    "Workers",
                    "Ray workers of running jobs. If they start for long, the cluster has no free "
                    "CPUs.",
                    "short",
                    Query("sum by (state) (batchgrad_workers)", "{{state}}"),
                    stacked=True,
                ),
                curves(
                    "Workers lost",
                    "Per minute: workers that were killed, crashed or did not answer. Other "
                    "workers compute their microbatches in the same step, with the same bits.",
                    "short",
                    Query("sum(increase(batchgrad_workers_lost_total[1m]))", "workers"),
                ),
            ),
        ),
        (
            "Traffic",
            (
                curves(
                    "Bytes per second",
                    "Parameters out, sums in, by transport. Inline jobs send none.",
                    "binBps",
                    Query(
                        "sum by (direction, transport) "
                        f"(rate(batchgrad_bytes_transferred_total{RATE}))",
                        "{{direction}} by {{transport}}",
                    ),
                ),
                curves(
                    "Bytes per example",
                    "Traffic per example. Larger minibatches and fewer workers reduce it.",
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
                    "Per minute, by reason. If it does not end, see the "
                    "retry storm in the runbook.",
                    "short",
                    Query(
                        "sum by (reason) (increase(batchgrad_microbatch_retries_total[1m]))",
                        "{{reason}}",
                    ),
                ),
            ),
        ),
        (
            "Phases of the steps of all jobs",
            (
                curves(
                    "Share of the time",
                    "Most of the time should be compute. If reduce or shard grow, there are too "
                    "many workers for a step of this size.",
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
                    "Half of all steps took less time in the phase.",
                    "s",
                    quantile(0.5, "batchgrad_step_phase_duration_seconds", "phase"),
                    log=True,
                ),
                curves(
                    "99%",
                    "99% of all steps took less time in the phase. If compute is far above the "
                    "median, a node is sometimes slow or busy.",
                    "s",
                    quantile(0.99, "batchgrad_step_phase_duration_seconds", "phase"),
                    log=True,
                ),
            ),
        ),
    ),
)
