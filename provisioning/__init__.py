"""How devices become members of a mesh: CA, identities, boot seeds. Not built yet; its place in the import rules is."""
