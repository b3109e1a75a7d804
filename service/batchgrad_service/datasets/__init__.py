"""Datasets and initial parameters: uploads, contents on disk, the blob store."""
