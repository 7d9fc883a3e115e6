"""The overlay: one routed network over all runners, as values and pure functions of them."""
