"""gRPC. Only convert/ and status.py translate between protobuf and the domain."""

import os

# Read once, when gRPC starts. With fork support, every subprocess (nft, iptables) makes gRPC try to stop its threads
# and log a warning. No netvps process uses gRPC after a fork.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
