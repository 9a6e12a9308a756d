"""The site: one folder of pages for a browser, of a finished run, without a server or a network.

Sphinx with MyST-NB writes it. Sphinx reads the captions of Snakemake's report as they are, for both
are reStructuredText, and stops at an image or a file that isn't there. MyST-NB shows executed
notebooks without executing them. The theme is PyData's, for its pages are wide enough for figures
of nine panels and narrow enough for a phone. Tables are sorted by DataTables, which the package
itables brings along, and Graphviz, which pygraphviz brings along, lays the rules out. All of this
is installed by pip and asks nothing of another server.

Tried and left: Jupyter Book 2, whose pages need a server; Quarto, a program of its own of hundreds
of megabytes that reads the captions only after a conversion; MkDocs, likewise; and Snakemake's
report, which can't sort a table and shows no notebook.
"""
