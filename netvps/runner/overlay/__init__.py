"""The overlay on this machine: reconciles the kernel with the control plane's netmap."""
