"""Use cases of images on runners: environments."""
