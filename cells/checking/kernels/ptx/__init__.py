"""PTX executed on the CPU: all threads of a block at once, in NumPy.

It runs the text that Triton hands to the assembler, so that layouts, masks, fragments of matrix instructions
and barriers are the compiler's own. An access that two warps share without a barrier between is a Fault. Not
proven are the assembler, the chip, and the few last bits of ex2 and div, which are exact here.
"""
