"""The reconcile loops of a machine that runs sessions."""
