"""Jobs for processes of their own: one comes back, one raises, one kills its process."""

import os


def job(name):
    if name == "raises":
        raise ValueError("by itself")
    if name == "kills":
        os._exit(3)
    return name
