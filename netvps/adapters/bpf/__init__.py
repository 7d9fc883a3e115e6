"""Programs in the kernel, at links (BPF), without a compiler on the machine."""
