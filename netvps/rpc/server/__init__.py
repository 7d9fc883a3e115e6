"""gRPC servers: listeners, authentication, interceptors, and the limits of open calls."""
