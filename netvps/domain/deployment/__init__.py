"""Deployments: services that a file declares, each a session with a URL; pure."""
