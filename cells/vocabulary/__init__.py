"""What equations may say: primitives, functions of whole arrays, and the graphs that record both."""
