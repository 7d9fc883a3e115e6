"""How runners, agents and other servers reach a control plane."""
