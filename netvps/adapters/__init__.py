"""One library each; library errors become ours here and nowhere else."""
