"""Estimators for scikit-learn, trained by a batchgrad service."""

from batchgrad.sklearn.estimators import BatchgradClassifier, BatchgradRegressor

__all__ = ["BatchgradClassifier", "BatchgradRegressor"]
