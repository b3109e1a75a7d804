"""Warnings of a plan: data, outputs and settings that are probably mistakes."""
