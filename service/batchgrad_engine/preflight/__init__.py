"""`python -m batchgrad_engine.preflight`: what a PyTorch job would do, from its code and rows."""
