"""Pixels: decoding, face detection, redaction, alignment. Knows no tables.

Pixels are ``uint8`` arrays of shape (height, width, 3) in RGB order of the upright picture unless a
docstring says otherwise; boxes are ``(x, y, width, height)`` in pixels of that picture.
"""
