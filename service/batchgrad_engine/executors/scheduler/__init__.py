"""Microbatch ranges over workers, whatever carries the numbers: order, stragglers, retries."""
