"""Our protocols inside other engines, one package for each: `flower`, `nvflare` and `ray`.

An engine is imported in its own package here and nowhere else, and each package names its version when it is
missing or another (`fedavg.adapters.engines`). `exchange` knows no engine: it has what nodes and server of
any of them exchange for one weighted mean.
"""
