"""Every check of scikit-learn's `check_estimator`, none expected to fail."""

from collections.abc import Callable
from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from batchgrad.sklearn import BatchgradClassifier, BatchgradRegressor


@parametrize_with_checks([BatchgradClassifier(), BatchgradRegressor()])  # type: ignore[untyped-decorator]
def test_the_estimators_keep_scikit_learns_promises(
    estimator: Any, check: Callable[[Any], None]
) -> None:
    check(estimator)
