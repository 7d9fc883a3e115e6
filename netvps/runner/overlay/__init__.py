"""The overlay on this machine: what the control plane tells of it, made so in the kernel and kept so."""
