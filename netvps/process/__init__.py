"""What running as a program needs: supervision, readiness, signals, locks, PID and log files."""
