"""How devices become members of a mesh: the CA, identities, claims, renewals, revocation, boot seeds, flashing."""
