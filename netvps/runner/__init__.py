"""The runner: the reconcile loops of a machine that runs sessions."""
