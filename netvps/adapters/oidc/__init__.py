"""An OIDC issuer, with which people log in."""
