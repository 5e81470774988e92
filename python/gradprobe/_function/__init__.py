"""Checks the gradient of any callable by finite differences.

`gradprobe.check_function` is its only door. Importing this package loads neither NumPy nor any
framework; its modules load NumPy.
"""
