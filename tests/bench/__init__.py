"""Measurements: what relaying costs, against a C program that only forwards, in one run."""
