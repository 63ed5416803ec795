"""What an operator does, as a library: brokers, meshes, users, pairing, jobs, seeds. Nothing here prints."""
