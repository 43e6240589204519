"""Figures for papers: heatmap, curves, scatter and depth plots, drawn by matplotlib into axes of whoever asks.

Each module `x` draws by one function, `draw_x(trends, ax=None, ...) -> Axes`. matplotlib is loaded when one is called.
"""
