"""Reports of federated statistics: the page, its pictures, and the table in a terminal."""
