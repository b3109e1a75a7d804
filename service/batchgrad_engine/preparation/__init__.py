"""Preparation of a job: model, sampler, examples, inputs' transform, workers' config."""
