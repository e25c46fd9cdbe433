"""The kinds of columns that a schema can name, each in a module of its own; importing this registers all.

A new kind is one class that has the members of `interface.Column`, registered as a part of family "column".
"""

from fedavg.data.tables.columns.boolean import Boolean
from fedavg.data.tables.columns.category import Category
from fedavg.data.tables.columns.date import Date
from fedavg.data.tables.columns.left_out import Identifier, Ignored
from fedavg.data.tables.columns.number import Number
from fedavg.data.tables.columns.text import Text

__all__ = ["Boolean", "Category", "Date", "Identifier", "Ignored", "Number", "Text"]
