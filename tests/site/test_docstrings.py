"""Docstrings as reStructuredText."""

from fastff.site.docstrings import with_literal_blocks

TEXT = """One line.

Dense:  p = softmax(W x)
Top-k:  the k largest
        entries

- a list
  of one

Code:

    def f():

        return 1

Args:
    x: a number.
"""
EXPECTED = """One line.

::

   Dense:  p = softmax(W x)
   Top-k:  the k largest
           entries

- a list
  of one

Code:

::

       def f():

           return 1

Args:
    x: a number.
"""


def test_code_and_columns_are_kept_and_sections_and_lists_are_left():
    found = with_literal_blocks(TEXT.split("\n"))
    assert [line.rstrip() for line in found] == EXPECTED.split("\n")
