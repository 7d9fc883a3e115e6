"""A registry (OCI distribution) as a holder of snapshots."""
