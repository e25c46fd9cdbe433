"""Sums over a transport that parties poll, such as HTTP, or tasks of an engine: it opens no connection.

The server keeps a `Board` with one question for each party. A party fetches its question as often as it likes
and gives one answer, which it may send as often as it likes. `Party` is the other end: it gives the same
bytes whenever a question comes again, also after a restart, and never a second answer. All parties start from
one file, a `SumAgreement`, which has the members' sealing keys of every epoch; a member deletes those of
epochs that are over. What the server gives to clients, such as a model, goes with the question as its
content, and is part of the name of the sum: clients with different contents enter no common sum.
"""

from __future__ import annotations

from fedavg.adapters.polling.agreement import SumAgreement
from fedavg.adapters.polling.board import Board, Verdict
from fedavg.adapters.polling.folder import begin_round, open_party, read_agreement
from fedavg.adapters.polling.letters import Letter, content_digest
from fedavg.adapters.polling.party import ClientRounds, MemberRounds, Party, Rounds
from fedavg.sums.sides.others import Facts

__all__ = [
    "Board",
    "ClientRounds",
    "Facts",
    "Letter",
    "MemberRounds",
    "Party",
    "Rounds",
    "SumAgreement",
    "Verdict",
    "begin_round",
    "content_digest",
    "open_party",
    "read_agreement",
]
