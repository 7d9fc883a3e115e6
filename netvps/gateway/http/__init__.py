"""HTTP endpoints of a program: health, readiness, metrics."""
