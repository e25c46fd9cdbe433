"""What every suite uses: contests in turns, measures with bars, commands, reports.

Nothing here knows a suite, and nothing imports numpy before a command has set the number of its threads.
"""
