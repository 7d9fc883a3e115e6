"""Answers requests about the images of this machine."""
