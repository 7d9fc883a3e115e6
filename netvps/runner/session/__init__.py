"""One session on a runner: the reconciler, its actions, its runtime folder and its reports."""
