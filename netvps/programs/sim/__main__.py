"""Starts `netvps sim`."""

from __future__ import annotations

import sys

from netvps.programs.sim.simulation import main

sys.exit(main())
