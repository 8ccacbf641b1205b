"""Helper package of the notebook course on transfer learning in breast imaging.

Research and teaching only: nothing in here is a medical device.
"""

__version__ = "0.1.0"
