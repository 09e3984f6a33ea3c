"""Inputs that others could have made, by the thousand, and what the project makes of each: `nox -s fuzz`.

    python -m support.fuzz --seed 0 --files 5000 --lines 1000 --environments 300
    python -m support.fuzz --replay manifest:0:17

The first prints how many inputs of each kind were tried, and a command such as the second for each that was
not taken well. What the input was is kept below .nox/fuzz.
"""
