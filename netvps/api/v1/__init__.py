"""Generated from proto/netvps/api/v1 by scripts/gen."""
