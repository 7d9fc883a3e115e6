"""Simulated runners, which speak the real protocol: for tests of schedulers, and for measurements."""
