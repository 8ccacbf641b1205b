"""Checks of the exercises: each says "right" or what to look at next, and never stops the notebook.

An exercise is a question in Markdown, a cell tagged ``solution`` and a cell that calls its check, such as
``checks.e02_threshold(threshold)``.  A check is made of the two functions in `answers`.  In
the students' copy of the notebook the solution is cut to ``threshold = ...  # your turn``, so that the check
finds `Ellipsis` and asks for an answer.
"""

from mammo_utils.course.checks.clinic import *  # noqa: F403
from mammo_utils.course.checks.images import *  # noqa: F403
from mammo_utils.course.checks.learning import *  # noqa: F403
from mammo_utils.course.checks.systems import *  # noqa: F403
