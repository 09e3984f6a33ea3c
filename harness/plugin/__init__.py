"""The pytest plugin: gates on the speed of functions and cells, judged as regress judges."""
