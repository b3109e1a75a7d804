"""Files of an engine: checkpoints, downloads made from them, the example ledger."""
