"""`moamesh top`: the mesh in a terminal.

`model` is what is known and how it is ordered, `drawing` turns figures into characters, `cells` and `panes` put both
into words and colours; all four are pure. `app` alone knows Textual.
"""
