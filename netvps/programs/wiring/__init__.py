"""What programs are built of: each part puts adapters, services, rpc and gateway together."""
