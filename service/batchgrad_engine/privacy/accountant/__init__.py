"""`python -m batchgrad_engine.privacy.accountant`: the noise and the ε of a private job.

Only this process, and tests, import dp-accounting.
"""
