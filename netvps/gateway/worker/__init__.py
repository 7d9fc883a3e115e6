"""The private socket between the control plane and the processes of the SSH gateway."""
