"""The `moamesh` command: arguments in, tables out. A folder for each group of commands, what all share beside them.

In a folder, `commands` (or `NAME_command` where several stand alone) has the arguments; its top imports only what
`--help` needs; `view` and `*_view` make what is shown out of data, and neither print nor wait.
"""
