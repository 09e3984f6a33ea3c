"""What equations may say: primitives on values, functions of whole arrays, and the graph that both are
recorded in.
"""
