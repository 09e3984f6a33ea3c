"""What a person types after cellbench, one file a command: add(parser) says its arguments, do(arguments) runs
it.
"""
