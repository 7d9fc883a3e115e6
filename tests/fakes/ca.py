"""A certificate authority whose certificates are sentences: who, what for, until when."""

from __future__ import annotations

from datetime import datetime, timedelta

from netvps.errors import InvalidInput


class FakeCa:
    """A CSR is "csr:KEY"."""

    certificate = "PEM of the CA"
    fingerprint = "fa" * 32
    ssh_user_ca = "ssh-ed25519 AAAAuser"
    ssh_host_ca = "ssh-ed25519 AAAAhost"

    def sign_client(self, csr: str, uri: str, now: datetime) -> tuple[str, datetime]:
        return f"{self.csr_key(csr)} is {uri}", now + timedelta(days=90)

    def csr_key(self, csr: str) -> str:
        if not csr.startswith("csr:"):
            raise InvalidInput.of("csr", "this is not a certificate request")
        return csr.removeprefix("csr:")

    def sign_ssh_host(self, public_key: str, principals: tuple[str, ...], key_id: str, now: datetime) -> str:
        return f"host {public_key} is {', '.join(principals)} ({key_id})"

    def sign_ssh_user(
        self, public_key: str, principals: tuple[str, ...], key_id: str, now: datetime, life: timedelta | None = None
    ) -> str:
        until = f" until {now + life:%H:%M}" if life else ""
        return f"user {public_key} is {', '.join(principals)} ({key_id}){until}"
