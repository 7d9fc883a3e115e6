"""Deployments: services that a file declares."""
