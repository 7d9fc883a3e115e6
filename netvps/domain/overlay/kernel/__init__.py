"""The overlay in the kernel: what is wanted, the difference to the present state, and the operations; pure."""
