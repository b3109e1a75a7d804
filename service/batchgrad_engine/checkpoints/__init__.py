"""Files of a job: checkpoints, downloads made from them, the example ledger, unstored messages."""
