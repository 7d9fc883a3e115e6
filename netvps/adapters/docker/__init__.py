"""Docker, by its SDK: implements the runner's engine port."""
