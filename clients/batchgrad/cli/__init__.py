"""The command line. Modules here import what a command needs when it runs: help stays quick."""

from batchgrad.cli.app import main

__all__ = ["main"]
