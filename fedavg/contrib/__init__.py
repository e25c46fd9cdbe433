"""Parts for special uses, kept to the same promises as all others.

A part stands here, and not on its family's own floor, when all of this holds:

- it is sound, with the reasons written down, and says itself what it does not protect;
- it passes its family's contract suite (`fedavg.testing`), and hostile tests of its own;
- few plans want it, because a simpler part of its family is usually the better choice;
- no other package needs it, apart from the tables of a configuration that names it.

The names of these parts in `fedavg` are permanent; their modules may move.
"""
