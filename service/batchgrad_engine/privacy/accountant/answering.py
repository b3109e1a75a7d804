"""Answer a request: the noise multiplier, the steps and the ε of a private job."""

from math import ceil, isfinite

from batchgrad.contract import FieldError, Privacy
from batchgrad_engine.privacy.accountant.calibration import (
    NoMultiplierError,
    smallest_multiplier,
    validation_multiplier,
)
from batchgrad_engine.privacy.accountant.curves import RESOLVED, curve, most_steps, promised
from batchgrad_engine.privacy.accountant.grid import LEAST, schedule
from batchgrad_engine.privacy.accountant.library import MissingLibraryError, quiet
from batchgrad_engine.privacy.accountant.losses import COARSE, FINE, MOST_STEPS, DeltaTooSmallError
from batchgrad_engine.privacy.accountant.messages import Answer, Request
from batchgrad_engine.privacy.accountant.sampled_gaussian import (
    LEAST_MULTIPLIER,
    MOST_EPSILON,
    SampledGaussian,
)
from batchgrad_engine.privacy.accounted import Accounted

EPSILON, MULTIPLIER, DELTA = "/privacy/epsilon", "/privacy/noise_multiplier", "/privacy/delta"


class Refused(Exception):
    """The spec has no guarantee: where, and what to do."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.problem = FieldError(pointer=pointer, detail=detail)


def answer(request: Request) -> Answer:
    """What was found about the job, or why it has no guarantee."""
    with quiet():
        try:
            return Answer(accounted=account(request))
        except Refused as refused:
            return Answer(problem=refused.problem)
        except MissingLibraryError as error:
            return Answer(problem=FieldError(pointer="/privacy", detail=str(error)))
        except DeltaTooSmallError as error:
            return Answer(problem=FieldError(pointer=DELTA, detail=f"delta {error}"))


def account(request: Request) -> Accounted:
    """The noise, the steps and the ε of the job.

    Raises:
        Refused: no noise multiplier or no step keeps the budget, or ε is beyond `MOST_EPSILON`.
        DeltaTooSmallError: the accountant cannot resolve δ over so many steps.
    """
    privacy = request.privacy
    mechanism = SampledGaussian.of(privacy, request.batch_size, request.training_rows)
    if privacy.accountant == "pld" and request.steps > MOST_STEPS:
        raise Refused(
            "/privacy/accountant",
            f"accountant: pld takes at most {MOST_STEPS} steps, got {request.steps}: train for "
            "fewer, or use accountant: rdp.",
        )
    sigma, steps = _noise_and_steps(privacy, mechanism, request.steps)
    epsilon = max(promised(mechanism, sigma, steps).epsilon(steps), LEAST)
    if not isfinite(epsilon) or epsilon > MOST_EPSILON:
        raise Refused(
            MULTIPLIER,
            f"noise_multiplier {sigma:g} gives {steps} steps an epsilon of {epsilon:.4g}, beyond "
            f"{MOST_EPSILON:g}, which protects nobody: raise it, or train for fewer steps.",
        )
    wanted = max(min(max(epsilon / 1000, FINE), COARSE), epsilon / RESOLVED)
    by_step = curve(mechanism, sigma, wanted)
    noisy = privacy.validation == "noisy"
    evaluations = ceil(steps / request.steps_per_epoch)
    return Accounted(
        noise_multiplier=sigma,
        sampling_rate=mechanism.q,
        steps=steps,
        epsilon=epsilon,
        schedule=schedule(by_step, steps, epsilon, privacy.epsilon),
        validation_multiplier=validation_multiplier(evaluations, epsilon, privacy.delta)
        if noisy
        else None,
    )


def _noise_and_steps(privacy: Privacy, mechanism: SampledGaussian, steps: int) -> tuple[float, int]:
    """σ, and how many of the wanted `steps` the budget allows."""
    budget, sigma = privacy.epsilon, privacy.noise_multiplier
    if budget is not None and budget > MOST_EPSILON:
        raise Refused(
            EPSILON,
            f"epsilon is {budget:g}, beyond {MOST_EPSILON:g}, which protects nobody: give 10 or "
            "less, or train without privacy.",
        )
    if sigma is None:
        if budget is None:
            raise TypeError("privacy has epsilon or noise_multiplier")
        try:
            return smallest_multiplier(mechanism, steps, budget), steps
        except NoMultiplierError as error:
            raise Refused(EPSILON, str(error)) from error
    if sigma < LEAST_MULTIPLIER:
        raise Refused(
            MULTIPLIER,
            f"noise_multiplier is {sigma:g}: noise below {LEAST_MULTIPLIER:g} hides nobody. Give "
            "0.5 or more, or epsilon alone.",
        )
    if budget is None:
        return sigma, steps
    found = promised(mechanism, sigma, steps)
    within = most_steps(found, steps, budget)
    if within:
        return sigma, within
    one = found.epsilon(1)
    raise Refused(
        EPSILON,
        f"epsilon is {budget:g}, but one step with noise_multiplier {sigma:g} spends {one:.4g}: "
        "raise either, or give epsilon alone.",
    )
