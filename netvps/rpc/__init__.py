"""gRPC: convert/ and status.py are the only doors between protobuf and domain."""
