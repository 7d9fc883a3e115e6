"""Commands of registration: invitations, and accounts that people make for themselves."""
