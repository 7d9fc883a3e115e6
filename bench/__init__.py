"""Benchmarks: netvps beside what a person would use without it, in turn on the same machine (scripts/bench)."""
