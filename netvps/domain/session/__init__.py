"""Sessions (VPSs): their states, their containers, and the plan that leads from one state to the next; pure."""
