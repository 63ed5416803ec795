"""The OpenAI-style API of a mesh, and the files of its app: a user of the mesh with an HTTP face."""
