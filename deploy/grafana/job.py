"""The dashboard of one job."""

from deploy.grafana.layout import Dashboard, link
from deploy.grafana.panels import DATASOURCE, RATE, Query, curves, heat_map, value

MINE = 'job_id="$job_id"'

JOB_VARIABLE = {
    "name": "job_id",
    "label": "Job",
    "type": "query",
    "datasource": DATASOURCE,
    "query": {
        "qryType": 1,
        "query": "label_values(batchgrad_job_info, job_id)",
        "refId": "PrometheusVariableQueryEditor-VariableQuery",
    },
    "refresh": 2,
    "sort": 2,
    "regex": "",
    "hide": 0,
    "includeAll": False,
    "multi": False,
    "options": [],
}

A_JOB = Dashboard(
    "batchgrad-job",
    "batchgrad: a job",
    "One job: does it learn, is its gradient sound, how far off would a shortcut be? Its series "
    "end when it stops running; choose an earlier time for one that has ended.",
    (
        (
            "Loss and gap",
            (
                curves(
                    "Loss",
                    "train is the newest minibatch, before its update; validation the examples "
                    "held back, once an epoch. Validation that rises while train falls: it learns "
                    "by heart.",
                    "short",
                    Query(f"batchgrad_job_loss{{{MINE}}}", "{{split}}"),
                    width=12,
                    height=12,
                    log=True,
                ),
                curves(
                    "Gap",
                    "Relative error of each shortcut's gradient against the exact one. 0.1 is a "
                    "tenth of G's length off; 1 is as wrong as no gradient.",
                    "percentunit",
                    Query(f"batchgrad_job_shortcut_relative_error{{{MINE}}}", "{{shortcut}}"),
                    width=12,
                    height=12,
                    log=True,
                ),
            ),
        ),
        (
            "Progress and state",
            (
                value(
                    "Name",
                    "The job's name and dataset.",
                    "none",
                    Query(f"batchgrad_job_info{{{MINE}}}", "{{name}} on {{dataset}}"),
                    width=6,
                    name=True,
                ),
                value(
                    "Progress",
                    "Steps done of those planned.",
                    "percentunit",
                    Query(f"batchgrad_job_step{{{MINE}}} / batchgrad_job_steps_planned{{{MINE}}}"),
                    width=3,
                ),
                value(
                    "Step", "Steps done.", "short", Query(f"batchgrad_job_step{{{MINE}}}"), width=3
                ),
                value(
                    "Examples per second",
                    "Per-example gradients computed.",
                    "short",
                    Query(f"rate(batchgrad_job_examples_total{{{MINE}}}{RATE})"),
                    width=3,
                ),
                value(
                    "Batch size",
                    "Examples in a minibatch, N.",
                    "short",
                    Query(f"batchgrad_job_batch_size{{{MINE}}}"),
                    width=3,
                ),
                value(
                    "Gap of averaged_error",
                    "The norm of what averaging the errors first gets wrong, against the mean "
                    "gradient's norm.",
                    "percentunit",
                    Query(
                        f'batchgrad_job_shortcut_relative_error{{{MINE},shortcut="averaged_error"}}'
                    ),
                    width=3,
                ),
                value(
                    "Last checkpoint",
                    "Its age; before the first one, how long the job has run.",
                    "s",
                    Query(
                        "time() - batchgrad_job_checkpoint_last_success_timestamp_seconds"
                        f"{{{MINE}}}"
                    ),
                    width=3,
                ),
            ),
        ),
        (
            "Does it learn?",
            (
                curves(
                    "Accuracy",
                    "Part of the validation examples classified rightly. Empty for a regression, "
                    "or without validation_fraction.",
                    "percentunit",
                    Query(f"batchgrad_job_accuracy{{{MINE}}}", "{{split}}"),
                    limits=(0, 1),
                ),
                curves(
                    "Gradient norm",
                    "Of the mean gradient G. Sudden growth comes before divergence: lower the "
                    "learning rate or set optimizer.clip_norm.",
                    "short",
                    Query(f"batchgrad_job_gradient_norm{{{MINE}}}", "norm of G"),
                    log=True,
                ),
            ),
        ),
        (
            "What does a private job spend?",
            (
                curves(
                    "ε spent",
                    "An upper bound of what the steps so far tell of a row, and the budget. Empty "
                    "unless the job is private.",
                    "short",
                    Query(f"batchgrad_job_privacy_epsilon{{{MINE}}}", "ε spent"),
                    Query(f"batchgrad_job_privacy_budget{{{MINE}}}", "budget"),
                    width=12,
                ),
                value(
                    "Budget spent",
                    "ε spent of the budget.",
                    "percentunit",
                    Query(
                        f"batchgrad_job_privacy_epsilon{{{MINE}}} "
                        f"/ batchgrad_job_privacy_budget{{{MINE}}}"
                    ),
                    width=3,
                ),
                value(
                    "δ",
                    "The probability with which the bound ε may fail.",
                    "sci",
                    Query(f"batchgrad_job_privacy_delta{{{MINE}}}"),
                    width=3,
                ),
                value(
                    "σ",
                    "The noise multiplier: the deviation of the noise on the sum of gradients, in "
                    "units of C.",
                    "short",
                    Query(f"batchgrad_job_privacy_noise_multiplier{{{MINE}}}"),
                    width=3,
                ),
                value(
                    "C",
                    "The clip norm, the most that one example's gradient counts.",
                    "short",
                    Query(f"batchgrad_job_privacy_clip_norm{{{MINE}}}"),
                    width=3,
                ),
            ),
        ),
        (
            "How far off would a shortcut be?",
            (
                curves(
                    "Direction",
                    "Cosine between a shortcut's gradient and G: 1 is the same direction, 0 is no "
                    "help at all, below 0 it climbs.",
                    "short",
                    Query(f"batchgrad_job_shortcut_cosine_similarity{{{MINE}}}", "{{shortcut}}"),
                    limits=(-1, 1),
                ),
                curves(
                    "Length",
                    "A shortcut's gradient against G: below 1 its steps are too short, above 1 "
                    "too long.",
                    "short",
                    Query(f"batchgrad_job_shortcut_norm_ratio{{{MINE}}}", "{{shortcut}}"),
                    log=True,
                ),
                curves(
                    "Gap by layer: averaged_error",
                    "Where the gap opens. A layer's own is 0 only where its input does not vary "
                    "with its error; layers below inherit what was lost above.",
                    "percentunit",
                    Query(
                        "batchgrad_job_layer_shortcut_relative_error"
                        f'{{{MINE},shortcut="averaged_error"}}',
                        "{{layer}}",
                    ),
                    width=12,
                    log=True,
                ),
                curves(
                    "Gap by layer: mean_example",
                    "The same, for the gradient at the one average example.",
                    "percentunit",
                    Query(
                        "batchgrad_job_layer_shortcut_relative_error"
                        f'{{{MINE},shortcut="mean_example"}}',
                        "{{layer}}",
                    ),
                    width=12,
                    log=True,
                ),
            ),
        ),
        (
            "Is the minibatch large enough?",
            (
                curves(
                    "Noise scale against batch size",
                    "The simple noise scale (McCandlish et al. 2018) is the batch size at which "
                    "noise and signal are equal. Far above N: larger minibatches would need fewer "
                    "steps. Far below: smaller ones would cost less. No curve while undetermined.",
                    "short",
                    Query(f"batchgrad_job_gradient_noise_scale{{{MINE}}}", "noise scale"),
                    Query(f"batchgrad_job_batch_size{{{MINE}}}", "batch size N"),
                    width=12,
                    log=True,
                ),
                heat_map(
                    "Gradient norms of single examples",
                    "How many examples' gradients have which norm. A band far above the others "
                    "is few examples that drive training: GET /v1/jobs/{id}/examples names them.",
                    "short",
                    Query(
                        "sum by (le) "
                        f"(rate(batchgrad_job_example_gradient_norm_bucket{{{MINE}}}{RATE}))",
                        "{{le}}",
                    ),
                ),
            ),
        ),
        (
            "What does a step spend its time on?",
            (
                curves(
                    "Seconds per step, by phase",
                    "shard: cut the minibatch; compute: per-example gradients; reduce: add up; "
                    "update: the optimizer; compare: the shortcuts; checkpoint: to disk, shared "
                    "out over the steps between.",
                    "s",
                    Query(
                        f"sum by (phase) (rate(batchgrad_job_phase_seconds_total{{{MINE}}}{RATE}))"
                        " / on () group_left () "
                        f"sum(deriv(batchgrad_job_step{{{MINE}}}{RATE}))",
                        "{{phase}}",
                    ),
                    width=12,
                    stacked=True,
                ),
                curves(
                    "Steps per second",
                    "Speed of the job.",
                    "short",
                    Query(f"deriv(batchgrad_job_step{{{MINE}}}{RATE})", "steps"),
                    width=12,
                ),
            ),
        ),
    ),
    (JOB_VARIABLE,),
    (link("Page of the job", "${service}/jobs/${job_id}"),),
)
