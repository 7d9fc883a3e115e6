"""Docker, by its SDK: fulfils what the runner asks of an engine."""
