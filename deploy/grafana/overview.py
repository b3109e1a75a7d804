"""The dashboard of the whole service."""

from deploy.grafana.layout import Dashboard
from deploy.grafana.panels import NAMED, OF_JOB, RATE, Query, bars, curves, quantile, value

OVERVIEW = Dashboard(
    "batchgrad-overview",
    "batchgrad: overview",
    "State, work and speed of the service.",
    (
        (
            "Is it well, how fast, what waits, how full?",
            (
                value(
                    "Service",
                    "Whether Prometheus reaches the service.",
                    "short",
                    Query('up{job="batchgrad"}'),
                    width=3,
                    color="bad",
                    above={1: "ok"},
                    words={"0": "down", "1": "up"},
                ),
                value(
                    "Failed, 24 h",
                    "Jobs that failed in the last day; below, by reason.",
                    "short",
                    Query('sum(increase(batchgrad_jobs_finished_total{outcome="failed"}[24h]))'),
                    width=3,
                    color="ok",
                    above={0.5: "bad"},
                ),
                value(
                    "Examples per second",
                    "Per-example gradients computed, of all jobs. Empty while none runs.",
                    "short",
                    Query(f"sum(rate(batchgrad_job_examples_total{RATE}))"),
                    width=3,
                ),
                value(
                    "Time to answer, 95%",
                    "95% of requests of all routes were answered faster.",
                    "s",
                    Query(
                        "histogram_quantile(0.95, sum by (le) "
                        f"(rate(batchgrad_http_request_duration_seconds_bucket{RATE})))"
                    ),
                    width=3,
                    color="ok",
                    above={0.5: "warn", 2: "bad"},
                ),
                value(
                    "Queued",
                    "Jobs that wait to start. GET /v1/jobs/{id} says why in queued_because.",
                    "short",
                    Query('sum(batchgrad_jobs{state="queued"})'),
                    width=3,
                    color="ok",
                    above={1: "warn"},
                ),
                value(
                    "Wait in the queue, 95%",
                    "Of the jobs that were started in the last hour, 95% waited less. Empty if "
                    "none was.",
                    "s",
                    Query(
                        "histogram_quantile(0.95, sum by (le) "
                        "(increase(batchgrad_job_queue_wait_seconds_bucket[1h])))"
                    ),
                    width=3,
                    color="ok",
                    above={60: "warn", 900: "bad"},
                ),
                value(
                    "Running of those possible",
                    "Jobs with an engine, of the setting max_running_jobs. At 100% others wait.",
                    "percentunit",
                    Query(
                        'sum(batchgrad_jobs{state=~"starting|running|recovering|pausing|cancelling"'
                        "}) / sum(batchgrad_jobs_limit)"
                    ),
                    width=3,
                    color="ok",
                    above={1: "warn"},
                ),
                value(
                    "Disk left",
                    "Bytes until jobs wait for space: what is free beyond the setting "
                    "min_free_disk_bytes.",
                    "bytes",
                    Query("min(batchgrad_disk_free_bytes - batchgrad_disk_min_free_bytes)"),
                    width=3,
                    color="bad",
                    above={2**30: "warn", 10 * 2**30: "ok"},
                ),
            ),
        ),
        (
            "Jobs",
            (
                curves(
                    "Jobs by state",
                    "The engine of a recovering job, or the service, died; the job continues by "
                    "itself.",
                    "short",
                    Query(
                        'sum by (state) (batchgrad_jobs{state!~"succeeded|failed|cancelled"})',
                        "{{state}}",
                    ),
                    stacked=True,
                ),
                bars(
                    "Progress",
                    "Steps done of those planned. Early stopping may end a job sooner.",
                    "percentunit",
                    Query(
                        f"batchgrad_job_step / batchgrad_job_steps_planned {NAMED}",
                        "{{name}} {{job_id}}",
                    ),
                    links=OF_JOB,
                ),
                curves(
                    "Wait in the queue",
                    "How long jobs waited that were started in the last hour: half of them less "
                    "than the lower curve, all but a twentieth less than the upper one.",
                    "s",
                    *(
                        Query(
                            f"histogram_quantile({part}, sum by (le) "
                            "(increase(batchgrad_job_queue_wait_seconds_bucket[1h])))",
                            name,
                        )
                        for part, name in ((0.5, "median"), (0.95, "95%"))
                    ),
                ),
            ),
        ),
        (
            "Throughput and gap",
            (
                curves(
                    "Examples per second",
                    "Per-example gradients computed, by job. A drop with the same workers is a "
                    "slow worker, a full machine, or evaluation and checkpoints in between.",
                    "short",
                    Query(
                        f"rate(batchgrad_job_examples_total{RATE}) {NAMED}", "{{name}} {{job_id}}"
                    ),
                    links=OF_JOB,
                ),
                curves(
                    "Loss",
                    "The newest minibatch's mean loss. Losses of jobs with other loss functions "
                    "cannot be compared.",
                    "short",
                    Query(f'batchgrad_job_loss{{split="train"}} {NAMED}', "{{name}} {{job_id}}"),
                    log=True,
                    links=OF_JOB,
                ),
                curves(
                    "Gap of averaged_error",
                    "How far the gradient of 'average the errors, then backpropagate once' is "
                    "from the exact mean gradient: 1 is as far as no gradient at all.",
                    "percentunit",
                    Query(
                        'batchgrad_job_shortcut_relative_error{shortcut="averaged_error"} '
                        f"{NAMED}",
                        "{{name}} {{job_id}}",
                    ),
                    log=True,
                    links=OF_JOB,
                ),
            ),
        ),
        (
            "Differential privacy",
            (
                curves(
                    "ε of each dataset",
                    "What private jobs have spent or reserved on a dataset's rows, deleted jobs "
                    "too. Empty without private jobs.",
                    "short",
                    Query("batchgrad_dataset_privacy_epsilon", "{{dataset}}"),
                    width=12,
                ),
                bars(
                    "Budget of each dataset",
                    "The part that private jobs have spent or reserved. At 100% no more are "
                    "accepted. Empty without budgets.",
                    "percentunit",
                    Query(
                        "batchgrad_dataset_privacy_epsilon / batchgrad_dataset_privacy_budget",
                        "{{dataset}}",
                    ),
                    width=12,
                ),
            ),
        ),
        (
            "Workers and errors",
            (
                curves(
                    "Ray workers",
                    "Workers of running jobs; those starting are waited for. A job that runs "
                    "inline has none.",
                    "short",
                    Query("sum by (state) (batchgrad_workers)", "{{state}}"),
                    width=6,
                    stacked=True,
                ),
                curves(
                    "Failures by reason",
                    "Jobs that failed within 10 minutes. docs/how-to/runbooks.md says what to do.",
                    "short",
                    Query(
                        "sum by (reason) "
                        '(increase(batchgrad_jobs_finished_total{outcome="failed"}[10m]))',
                        "{{reason}}",
                    ),
                    width=6,
                ),
                curves(
                    "Losses and retries",
                    "Within 10 minutes: lost workers, microbatches that other workers computed "
                    "again, examples left out because their gradient was not finite. Losses and "
                    "retries change no result, but take time.",
                    "short",
                    Query("sum(increase(batchgrad_workers_lost_total[10m]))", "workers lost"),
                    Query(
                        "sum(increase(batchgrad_microbatch_retries_total[10m]))",
                        "microbatches again",
                    ),
                    Query(
                        "sum(increase(batchgrad_nonfinite_examples_total[10m]))",
                        "examples left out",
                    ),
                    width=6,
                ),
                curves(
                    "Age of the last checkpoint",
                    "Work that a job would repeat if its engine died now.",
                    "s",
                    Query(
                        f"time() - batchgrad_job_checkpoint_last_success_timestamp_seconds {NAMED}",
                        "{{name}} {{job_id}}",
                    ),
                    width=6,
                    links=OF_JOB,
                ),
            ),
        ),
        (
            "API",
            (
                curves(
                    "Requests per second",
                    "By route template. Prometheus itself is /metrics.",
                    "reqps",
                    Query(
                        "sum by (method, route) "
                        f"(rate(batchgrad_http_request_duration_seconds_count{RATE}))",
                        "{{method}} {{route}}",
                    ),
                    width=6,
                ),
                curves(
                    "Time to answer, 95%",
                    "95% of requests were answered faster. An event stream counts until it begins.",
                    "s",
                    quantile(0.95, "batchgrad_http_request_duration_seconds", "route"),
                    width=6,
                    log=True,
                ),
                curves(
                    "Refused and failed",
                    "Responses of 400 and above: 4xx are faults of the client, 5xx of the service.",
                    "reqps",
                    Query(
                        "sum by (status, route) (rate(batchgrad_http_request_duration_seconds_count"
                        f'{{status=~"[45].."}}{RATE}))',
                        "{{status}} {{route}}",
                    ),
                    width=6,
                ),
                curves(
                    "CPU of the service",
                    "CPU seconds per second of the process that serves HTTP, without engines. Near "
                    "1 it slows jobs down.",
                    "short",
                    Query(f'rate(process_cpu_seconds_total{{job="batchgrad"}}{RATE})', "cores"),
                    width=6,
                ),
            ),
        ),
    ),
)
