"""Measures the hot paths; every measurement compares within one run."""
