"""gRPC: convert/ and status.py are the only doors between protobuf and domain."""

import os

# Read once, when gRPC starts: without it, each program that we run (nft, iptables) makes it try to stop its threads for
# a fork that is none, and say so on stderr. No process of ours goes on with gRPC after a fork.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
