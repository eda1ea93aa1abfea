"""Instruments on tensors: the emotion classifier, its training, its measures, its clusters.

Arrays in, arrays out: nothing here knows a table, a person or a job. TensorFlow is opened by
``annotator.ml.runtime`` alone.
"""
