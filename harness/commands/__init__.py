"""The commands of `cellbench`, one file each: `add(parser)` names its arguments, `do(arguments)` runs it.

A file here is a command by standing here. The first line of its docstring is its line in `cellbench --help`,
all of it the head of its own help. A file that begins with an underscore is none.
"""
