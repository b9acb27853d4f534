"""Facial expression recognition as composable command-line stages over HDF5 tensor stores."""

__version__ = "0.1.5"
