"""The kinds of columns that a schema can name, each in its own module; importing this package registers all.

A new kind is a class with the members of `interface.Column`, registered as a part of the family "column".
"""

from fedavg.data.tables.columns.boolean import Boolean
from fedavg.data.tables.columns.category import Category
from fedavg.data.tables.columns.date import Date
from fedavg.data.tables.columns.left_out import Identifier, Ignored
from fedavg.data.tables.columns.number import Number
from fedavg.data.tables.columns.text import Text

__all__ = ["Boolean", "Category", "Date", "Identifier", "Ignored", "Number", "Text"]
