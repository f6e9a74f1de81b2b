"""The measures: what arms said, and what references cost, → one number an arm and item, a file each.

`measure_all.py` takes all of them. Each is a function of data that gives the same numbers for the same data.
"""
