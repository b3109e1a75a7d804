"""Environment variables of the processes that compute."""

ENVIRONMENT = {
    # One microbatch is one computation on one BLAS thread: the same bits everywhere.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONFAULTHANDLER": "1",  # a crash in native code leaves a traceback in the log
}
