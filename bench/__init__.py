"""Benchmarks: netvps against the manual alternative, in alternation on the same machine (scripts/bench)."""
