"""The site: one folder of pages for a browser, of a finished run, without a server or a network.

It is the Sphinx project of `docs/`, whose `conf.py` has the settings, with README.md, the pages of
`docs/` and those that are written here of a run.

Sphinx with MyST-NB builds it. Sphinx reads the captions of Snakemake's report as they are, for both
are reStructuredText, and says so where an image or a file isn't there. MyST-NB shows executed
notebooks without executing them. The theme is PyData's, whose pages are wide enough for figures of
nine panels and narrow enough for a phone, and which loads nothing from elsewhere. Tables are sorted
by DataTables, which the package itables brings along, and Graphviz, which pygraphviz brings along,
lays the rules out: all of it comes with pip, and no program has to be there.

Not taken: Jupyter Book 2, whose pages need a server; Quarto, a program of its own beside Python's
packages; MkDocs and Quarto, which read Markdown alone, so that the captions would be there twice;
and Snakemake's own report, which sorts no tables and shows no notebooks.
"""
