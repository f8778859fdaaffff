"""Rewrites: the graphical algebra of neural circuit diagrams as checked steps from one diagram to another.

Source of the rules: V. Abbott, Neural Circuit Diagrams (TMLR 2024, arXiv 2402.05424), sections 2.2 to 2.4 and
figures 8 to 18; those on repetitions, blocks and copies are ours.
"""

from nbkit.language.rewrite import blocks as blocks
from nbkit.language.rewrite import convolutions as convolutions
from nbkit.language.rewrite import copies as copies
from nbkit.language.rewrite import einsums as einsums
from nbkit.language.rewrite import identities as identities
from nbkit.language.rewrite import linears as linears
from nbkit.language.rewrite import parameters as parameters
from nbkit.language.rewrite import repeats as repeats
from nbkit.language.rewrite import scales as scales
from nbkit.language.rewrite import slides as slides
from nbkit.language.rewrite import softmaxes as softmaxes
from nbkit.language.rewrite import transposes as transposes
from nbkit.language.rewrite.apply import Rewriting as Rewriting
from nbkit.language.rewrite.apply import places as places
from nbkit.language.rewrite.apply import rewrite as rewrite
from nbkit.language.rewrite.apply import rewriting as rewriting
from nbkit.language.rewrite.apply import rules as rules
from nbkit.language.rewrite.rule import RewriteError as RewriteError
