"""The overlay in the kernel: what is wanted, how it differs from what is there, and the operations; pure."""
