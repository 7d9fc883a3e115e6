"""The name in every server certificate: clients pin the CA, and care for no other name."""

from typing import Final

SERVER_NAME: Final = "control.netvps.internal"
