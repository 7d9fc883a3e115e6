"""Network interfaces of the overlay: the bridge, the VXLAN device, and how they are listed and named."""
