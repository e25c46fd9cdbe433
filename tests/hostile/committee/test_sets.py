"""V1–V3, V9, V12: told sets, second questions, odd sets, too few answers, and an n that lies."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import threading
from dataclasses import replace

import pytest

from secagg import Aborted, Directory, Identity, LocalProtocolError, RemoteProtocolError
from secagg.committee import Committee, CommitteeParams, Member, SealingKey
from secagg.committee import CommitteePhase as Phase
from secagg.committee.arithmetic.sharing import secret_points, unpack_shares
from secagg.committee.wire.codec import sums_of
from secagg.committee.wire.messages import Proposal, Request, set_signed
from tests.hostile.mutants import FOUND, without
from tests.secagg.committee.support.algebra import kernel, learnt, weights
from tests.secagg.committee.support.lab import Lab, small

CORRUPT = 0
A, B = {0, 1, 2}, {3, 4, 5}


# V1: told sets ------------------------------------------------------------------------------------------


def tight():
    """m = 10, c = 1, k = 1 and 2t = m + c − 1: without signatures, told sets would come apart here."""
    params = small(10, 1, 3, 2, 6)
    assert 2 * params.threshold == params.n_members + params.corrupt - 1
    return Lab(params)


def told(lab, split):
    """Each honest member is shown its own set; answers to all that the server can put together.

    Args:
        lab: the parties.
        split: member → set of clients.

    Returns:
        member → int64[primes, blocks], for the members that answered.
    """
    deliveries = lab.until(Phase.REPORT)
    names = [one.pair for one in lab.server._ordered()]
    endorsed, answers = {}, {}
    for j, clients in split.items():
        report = lab.read(lab.members[j].receive(deliveries[j]))
        included = bytes(client in clients for client, _ in names)
        hashed = hashlib.sha256(report.values).digest()
        message = Proposal(tuple(names), included, report.opened, hashed, report.signature)
        endorsed[j] = lab.read(lab.members[j].receive(lab.write(message)))
    for j, clients in split.items():
        # All signatures on this member's set, and that of the corrupt member, who signs every set.
        statement = lab_set(lab, names, clients)
        shown = {k: endorsed[k].signature for k, other in split.items() if other == clients}
        shown[CORRUPT] = lab.identities[CORRUPT].sign(statement)
        message = Request(tuple(sorted(shown.items())), (), ())
        try:
            answers[j] = sums_of(lab.params, lab.read(lab.members[j].receive(lab.write(message))))
        except RemoteProtocolError:
            continue
    return answers


def lab_set(lab, names, clients):
    return set_signed(lab.session, [pair for pair in names if pair[0] in clients])


def corrupt_shares(lab):
    """client → the corrupt member's share of it, int64[blocks]: it opens its envelopes like any member."""
    member, out = lab.member(CORRUPT), {}
    for one in lab.server._ordered():
        (share,), _ = unpack_shares(
            lab.params, [member._open_one(one.head, one.message.envelopes[CORRUPT])]
        )
        out[one.head.client_id] = share[0, : lab.params.blocks]
    return out


def recovered(lab, split, answers):
    """The sums over A and over B, where linear algebra finds them: weights on all answers and corrupt shares.

    Weights of honest answers are common to both groups, those of the corrupt member's shares are not. For
    each group, the weighted power sums of all points must equal those of the secret's point, times a factor
    for A and another for B.
    """
    (p,), rebuild = lab.params.moduli, lab.params.rebuild
    (secret,) = secret_points(lab.params, p)
    columns = [(j + 1, split[j]) for j in answers]
    columns += [(CORRUPT + 1, A), (CORRUPT + 1, B), (secret, A), (secret, B)]
    rows = [
        [pow(x, e, p) if group <= clients else 0 for x, clients in columns]
        for group in (A, B)
        for e in range(rebuild)
    ]
    known = corrupt_shares(lab)
    for found in kernel(rows, p):
        *free, of_a, of_b, alpha, beta = found
        if not (alpha and beta) or alpha == beta:
            continue
        value = sum(w * answers[j][0] for w, j in zip(free, answers, strict=True))
        value = value + of_a * sum(known[i] for i in A) + of_b * sum(known[i] for i in B)
        # alpha·S_A + beta·S_B + value = 0 modulo p, and both sums are small.
        bound = 3 * lab.params.max_abs
        small_sums = {
            int(alpha * a + beta * b) % p: (a, b)
            for a in range(-bound, bound + 1)
            for b in range(-bound, bound + 1)
        }
        return [small_sums.get(int(-v) % p) for v in value]
    return None


SPLITS = [
    {j: (A, B, A | B)[(j - 1) % 3] for j in range(1, 10)},
    {j: (A, B, A | B)[(j - 1) // 3] for j in range(1, 10)},
    {j: A if j < 6 else B for j in range(1, 10)},
]


@pytest.mark.parametrize("split", SPLITS)
def test_v1_told_sets_bring_at_most_one_sum(split):
    lab = tight()
    answers = told(lab, split)
    sets = {frozenset(split[j]) for j in answers}
    assert len(sets) <= 1
    assert recovered(lab, split, answers) is None or len(sets) == 0


def sums_in_full(lab):
    return list(zip(lab.total(A).tolist(), lab.total(B).tolist(), strict=True))


@pytest.mark.parametrize("split", SPLITS[:2])
def test_v1_mutant_without_a_quorum_loses_two_sums_in_full(split, monkeypatch):
    """At 2t = m + c − 1 the attack succeeds, so the test above is one that can fail."""
    without(monkeypatch, Member, "_check_quorum", "shown >= quorum", "True")
    lab = tight()
    answers = told(lab, split)
    assert len(answers) == 9
    assert recovered(lab, split, answers) == sums_in_full(lab)
    with pytest.raises(FOUND):
        test_v1_told_sets_bring_at_most_one_sum(split)


def test_v1_mutant_with_a_quorum_one_short_answers_for_two_sets(monkeypatch):
    short = property(lambda self: (self.n_members + self.corrupt) // 2)
    monkeypatch.setattr(CommitteeParams, "quorum", short)
    with pytest.raises(FOUND):
        test_v1_told_sets_bring_at_most_one_sum({j: A if j < 6 else B for j in range(1, 10)})


def groups(total, most):
    """All ways to cut `total` members into groups, each told another set."""
    if total == 0:
        yield ()
    for first in range(min(total, most), 0, -1):
        for rest in groups(total - first, first):
            yield (first, *rest)


def two_certified(m, c, quorum):
    """Whether some way to tell honest members sets brings two of them a quorum; corrupt ones sign all."""
    return any(sum(g + c >= quorum for g in ways) > 1 for ways in groups(m - c, m - c))


@pytest.mark.parametrize("m", range(1, 13))
def test_v1_no_way_to_tell_sets_certifies_two(m):
    """All partitions of the honest members: which clients the sets hold does not matter."""
    for c in range(m):
        quorum = (m + c) // 2 + 1
        assert not two_certified(m, c, quorum)
        if quorum > c + 1:  # the mutant: one signature fewer
            assert two_certified(m, c, quorum - 1)


def test_v1_a_server_that_holds_cards_back_chooses_no_committee():
    """Of eight members it would leave the four that it owns, and a majority of them."""
    who = {j: Identity.generate() for j in range(8)}
    known = Directory({j: it.public for j, it in who.items()})
    cards = [SealingKey.generate(it, j, epoch=1).card for j, it in who.items()]
    assert len(Committee(known, cards, epoch=1)) == 8
    with pytest.raises(LocalProtocolError, match="4 cards were given for 8 members"):
        Committee(known, cards[:4], epoch=1)


# What an observer learns, exactly ---------------------------------------------------------------------

BLOCKS, CHECKS = 2, 1


class Unknowns:
    """Columns for each client and each of BLOCKS + CHECKS polynomials: t free values and k secrets.

    The secrets of check rows are uniform too, and stand with the free values; those of blocks come last.
    """

    def __init__(self, p, t, k, clients):
        self.p, self.t, self.k, self.clients = p, t, k, clients
        self.points = [p - 1 - s for s in range(k)] + list(range(1, t + 1))
        self.checks = clients * (BLOCKS + CHECKS) * t  # first secret of a check row
        self.hidden = self.checks + clients * CHECKS * k  # first secret of a block

    def columns(self, client, row):
        """Of a polynomial's k secrets and t free values, in the order of the points."""
        first = (client * (BLOCKS + CHECKS) + row) * self.t
        if row < BLOCKS:
            secrets = self.hidden + (client * BLOCKS + row) * self.k
        else:
            secrets = self.checks + (client * CHECKS + row - BLOCKS) * self.k
        return [*range(secrets, secrets + self.k), *range(first, first + self.t)]

    def observe(self, member, terms):
        """What a member's shares give: the sum of factor · share over (client, row, factor)."""
        x, out = member + 1, [0] * (self.hidden + self.clients * BLOCKS * self.k)
        known = x in self.points
        values = [int(y == x) for y in self.points] if known else weights(self.points, x, self.p)
        for client, row, factor in terms:
            for at, value in zip(self.columns(client, row), values, strict=True):
                out[at] += factor * value
        return out


def observations(p, m, c, t, k, clients, chosen, answered, *, masked=True):
    """Rows of coefficients of everything that server and corrupt members see, and the first secret's column.

    Members 0 … c − 1 are corrupt; the weights of check values are any that differ.
    """
    unknown, rows = Unknowns(p, t, k, clients), []
    everything = itertools.product(range(clients), range(BLOCKS + CHECKS))
    for (client, row), member in itertools.product(everything, range(c)):
        rows.append(unknown.observe(member, [(client, row, 1)]))
    for client, check in itertools.product(range(clients), range(CHECKS)):
        terms = [(client, row, 3 + 5 * client + 7 * row + check) for row in range(BLOCKS)]
        terms += [(client, BLOCKS + check, int(masked))]
        rows += [unknown.observe(member, terms) for member in range(c, m)]
    for member, row in itertools.product(answered, range(BLOCKS)):
        rows.append(unknown.observe(member, [(client, row, 1) for client in chosen]))
    return rows, unknown.hidden


def is_of_one_sum(found, clients, chosen, k):
    """Whether a relation of secrets has equal coefficients at the clients of the set, and none elsewhere."""
    size = BLOCKS * k
    parts = [found[client * size : (client + 1) * size] for client in range(clients)]
    return all(
        parts[i] == parts[chosen[0]] if i in chosen else not any(parts[i]) for i in range(clients)
    )


def cases():
    """Every c, t ≥ c and k with R ≤ m ≤ 6, by m."""
    for m in range(2, 7):
        for c in range(m):
            for t in range(max(1, c), m):
                for k in range(1, m - t + 1):
                    yield m, c, t, k


@pytest.mark.parametrize(("m", "c", "t", "k"), [*cases()])
def test_v1_all_answers_to_one_set_teach_its_sum_and_nothing_else(m, c, t, k):
    """Every set of n ≤ 4 clients at m ≤ 6; any number of answers.

    The whole sum of a block is learnt from R points; from t of them, corrupt ones included, nothing is (V9).
    """
    p = 4093
    sizes = [(n, size) for n in (2, 3, 4) for size in range(1, n + 1)]
    for (n, size), y in itertools.product(sizes, range(m - c + 1)):
        chosen = range(size)
        rows, hidden = observations(p, m, c, t, k, n, chosen, range(c, c + y))
        found = learnt(rows, hidden, p)
        assert all(is_of_one_sum(one, n, chosen, k) for one in found)
        # Relations a block: none up to t points, then one for each further point, k at most.
        assert len(found) == BLOCKS * min(k, max(0, y + c - t))


def test_v1_mutant_without_masks_on_check_values_teaches_single_clients():
    rows, hidden = observations(4093, 6, 1, 2, 2, 3, range(2), range(1, 6), masked=False)
    found = learnt(rows, hidden, 4093)
    assert not all(is_of_one_sum(one, 3, range(2), 2) for one in found)


def test_v9_too_few_answers_say_nothing_unless_keys_were_stolen():
    """Relations of the sum's secrets after y answers; with t points known, one answer brings the first."""
    params = small(9, 1, 1, threshold=4)
    (p,), t, k = params.moduli, params.threshold, params.packing
    for points in (params.corrupt, t):
        known = []
        for y in range(10 - points):
            rows, hidden = observations(p, 9, points, t, k, 2, (0, 1), range(points, points + y))
            known.append(bool(learnt(rows, hidden, p)))
        assert known == [points + y > t for y in range(10 - points)]


def test_v9_a_round_counts_as_opened_as_soon_as_a_request_has_left():
    """Five of nine sign at t = 8: five answers say nothing, unless sealing keys were stolen besides."""
    lab = Lab(small(9, 0, 0, threshold=8))
    lab.ask(lab.until(Phase.SIGN), silent=range(5, 9))
    assert not lab.server.opened
    assert len(lab.server.advance()) == lab.params.quorum == 5
    assert lab.server.opened


def test_v9_a_round_that_failed_after_the_requests_counts_as_opened():
    lab = Lab()
    messages = lab.until(Phase.ANSWER)
    assert lab.server.opened
    lab.ask({0: messages[0]})
    with pytest.raises(Aborted):
        lab.server.advance()
    assert (lab.server.opened, lab.server.answers) == (True, 1)
    assert lab.server.survivors == (0, 1, 2, 3, 4)  # whose updates enter no other sum


# V2: asked twice ----------------------------------------------------------------------------------------


def proposal_for(lab, j, report, clients):
    names = tuple(one.pair for one in lab.server._ordered())
    included = bytes(client in clients for client, _ in names)
    hashed = hashlib.sha256(report.values).digest()
    return lab.write(Proposal(names, included, report.opened, hashed, report.signature))


@pytest.mark.parametrize("where", ["the same object", "another process", "another thread"])
def test_v2_one_signature_a_context(where):
    lab = Lab()
    deliveries = lab.until(Phase.REPORT)
    report = lab.read(lab.members[3].receive(deliveries[3]))
    lab.members[3].receive(proposal_for(lab, 3, report, {0, 1, 2, 3}))
    member = lab.members[3] if where == "the same object" else lab.member(3)
    raised = []

    def again():
        for clients in ({0, 1, 2, 3}, {0, 1, 2}, {1, 2, 3, 4}):
            try:
                member.receive(proposal_for(lab, 3, report, clients))
            except RemoteProtocolError as error:
                raised.append(str(error))

    if where == "another thread":
        thread = threading.Thread(target=again)
        thread.start()
        thread.join()
    else:
        again()
    assert len(raised) == 3
    assert all("has signed one" in words for words in raised)


def test_v2_two_processes_at_once_bring_one_signature():
    """Both have read everything before either claims; the journal lets one through."""
    lab = Lab()
    deliveries = lab.until(Phase.REPORT)
    report = lab.read(lab.members[3].receive(deliveries[3]))
    gate, signed = threading.Barrier(2), []
    lock, facts = threading.Lock(), lab.journals[3]

    class Waiting:
        def add(self, fact):
            gate.wait(timeout=60)
            with lock:
                return facts.add(fact)

    def sign(clients):
        member = lab.member(3, journal=Waiting())
        with contextlib.suppress(RemoteProtocolError):
            signed.append(member.receive(proposal_for(lab, 3, report, clients)))

    threads = [threading.Thread(target=sign, args=(s,)) for s in ({0, 1, 2}, {1, 2, 3})]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(signed) == 1


@pytest.mark.parametrize("fresh", [False, True])
def test_v2_one_answer_a_context(fresh):
    lab = Lab()
    messages = lab.until(Phase.SIGN)
    lab.members[3] = lab.member(3)
    lab.ask(messages)
    request = lab.server.advance()[3]
    lab.members[3].receive(request)
    member = lab.member(3) if fresh else lab.members[3]
    with pytest.raises(RemoteProtocolError, match="has answered"):
        member.receive(request)


@pytest.mark.parametrize("fault", ["raises", "answers none"])
def test_v2_a_journal_that_fails_signs_nothing(fault):
    lab = Lab()
    deliveries = lab.until(Phase.REPORT)
    report = lab.read(lab.members[3].receive(deliveries[3]))

    class Broken:
        def add(self, fact):
            if fault == "raises":
                raise OSError("disk full")

    member = lab.member(3, journal=Broken())
    with pytest.raises(LocalProtocolError, match=r"journal"):
        member.receive(proposal_for(lab, 3, report, {0, 1, 2}))


def test_v2_there_is_no_member_without_a_journal():
    lab = Lab()
    with pytest.raises(LocalProtocolError, match="needs a journal"):
        Member(
            lab.params, 3, lab.identities[3], lab.keys[3], lab.committee, lab.clients,
            context=lab.context, journal=None,
        )  # fmt: skip


def test_v2_the_fact_holds_for_the_context_under_any_parameters():
    """A server that offers the same context under other numbers gets no second signature."""
    lab = Lab()
    lab.until(Phase.ANSWER)
    other = Lab(small(floor=4))
    other.identities[3], other.journals[3] = lab.identities[3], lab.journals[3]
    other.keys = {j: SealingKey.generate(i, j, epoch=2) for j, i in other.identities.items()}
    known = Directory({j: i.public for j, i in other.identities.items()})
    other.committee = Committee(known, [key.card for key in other.keys.values()], epoch=2)
    other.session = other.committee.session(other.params, other.context)
    other.server = other.collector()
    other.members = {j: other.member(j) for j in other.identities}
    messages = other.until(Phase.SIGN)
    with pytest.raises(RemoteProtocolError, match="has signed one"):
        other.members[3].receive(messages[3])


# V3: odd sets -------------------------------------------------------------------------------------------


def odd(name, names, report):
    """An odd proposal: (names, included, opened)."""
    everything = bytes([1] * len(names))
    return {
        "fewer than the floor": (names, bytes([1, 1, 0, 0, 0]), report.opened),
        "one client": (names, bytes([1, 0, 0, 0, 0]), report.opened),
        "nobody": (names, bytes(5), report.opened),
        "a stranger": ((*names[:4], (77, names[4][1])), everything, report.opened),
        "another digest": ((*names[:4], (4, bytes(32))), everything, report.opened),
        "fewer delivered": (names[:4], everything[:4], report.opened[:4]),
        "another report": (names, everything, bytes([1, 1, 1, 1, 0])),
    }[name]


ODD = [
    "fewer than the floor", "one client", "nobody", "a stranger", "another digest", "fewer delivered",
    "another report",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("fresh", [False, True])
def test_v3_odd_sets_are_refused_before_anything_is_claimed(name, fresh):
    lab = Lab()
    deliveries = lab.until(Phase.REPORT)
    report = lab.read(lab.members[3].receive(deliveries[3]))
    names = tuple(one.pair for one in lab.server._ordered())
    listed, included, opened = odd(name, names, report)
    hashed = hashlib.sha256(report.values).digest()
    message = lab.write(Proposal(listed, included, opened, hashed, report.signature))
    member = lab.member(3) if fresh else lab.members[3]
    with pytest.raises(RemoteProtocolError) as refusal:
        member.receive(message)
    assert refusal.value.culprit == "server"
    assert not lab.journals[3].facts
    # Nothing has changed: the honest proposal is signed.
    assert member.receive(proposal_for(lab, 3, report, {0, 1, 2, 3, 4}))


def test_v3_a_set_with_a_share_that_did_not_open_is_not_signed():
    lab = Lab()
    for i in lab.people:
        lab.server.receive(i, lab.contribution(i))
    deliveries = lab.server.advance()
    delivery = lab.read(deliveries[3])
    spoiled = (bytes(lab.params.envelope_size), *delivery.envelopes[1:])
    report = lab.read(lab.members[3].receive(lab.write(replace(delivery, envelopes=spoiled))))
    assert report.opened == bytes([0, 1, 1, 1, 1])
    with pytest.raises(RemoteProtocolError, match="did not open"):
        lab.members[3].receive(proposal_for(lab, 3, report, {0, 1, 2}))
    assert not lab.journals[3].facts
    assert lab.members[3].receive(proposal_for(lab, 3, report, {1, 2, 3}))


@pytest.mark.parametrize(
    "fault", ["stranger", "unsigned", "another's signature", "too few", "too many"]
)
def test_v3_odd_deliveries_are_not_reported_on(fault):
    lab = Lab(small(n=4)) if fault == "too many" else Lab()
    deliveries = lab.until(Phase.REPORT)
    d = lab.read(deliveries[3])
    if fault == "stranger":
        d = replace(d, heads=(*d.heads[:-1], replace(d.heads[-1], client_id=77)))
    elif fault == "unsigned":
        d = replace(d, signatures=(bytes(64), *d.signatures[1:]))
    elif fault == "another's signature":
        d = replace(d, signatures=(d.signatures[1], *d.signatures[1:]))
    elif fault == "too few":
        d = replace(d, heads=d.heads[:2], signatures=d.signatures[:2], envelopes=d.envelopes[:2])
    else:
        more = (replace(d.heads[-1], client_id=5 + d.heads[-1].client_id),)
        d = replace(
            d, heads=d.heads + more, signatures=d.signatures + d.signatures[:1],
            envelopes=d.envelopes + d.envelopes[:1],
        )  # fmt: skip
    with pytest.raises(RemoteProtocolError) as refusal:
        lab.members[3].receive(lab.write(d))
    assert refusal.value.culprit == "server"


@pytest.mark.parametrize(
    "fault", ["one short", "forged", "no member", "of another set", "of another session"]
)
def test_v3_quorums_that_are_none(fault):
    lab = Lab()
    request = lab.read(lab.until(Phase.ANSWER)[3])
    (place, signature), *rest = request.signatures
    quorum = {
        "one short": tuple(rest),
        "forged": ((place, bytes(64)), *rest),
        "no member": (*rest, (lab.params.n_members, signature)),
        "of another set": ((place, lab.identities[place].sign(bytes(32))), *rest),
        "of another session": request.signatures,
    }[fault]
    data = lab.write(replace(request, signatures=quorum))
    if fault == "of another session":
        data = data[:8] + bytes(32) + data[40:]
    before = set(lab.journals[3].facts)
    with pytest.raises(RemoteProtocolError) as refusal:
        lab.members[3].receive(data)
    assert refusal.value.culprit == "server"
    assert lab.journals[3].facts == before
    assert lab.members[3].receive(lab.write(request))


def test_v3_a_member_whose_envelopes_changed_answers_nothing():
    lab = Lab()
    messages = lab.until(Phase.SIGN)
    lab.members = {j: lab.member(j) for j in lab.members}
    lab.ask(messages)
    request = lab.read(lab.server.advance()[3])
    for spoiled in (
        replace(request, envelopes=(bytes(lab.params.envelope_size), *request.envelopes[1:])),
        replace(request, heads=request.heads[:-1], envelopes=request.envelopes[:-1]),
        replace(
            request,
            heads=(replace(request.heads[0], message_digest=bytes(32)), *request.heads[1:]),
        ),
    ):
        with pytest.raises(RemoteProtocolError):
            lab.members[3].receive(lab.write(spoiled))
    assert lab.members[3].receive(lab.write(request))


# V12: an n that lies ----------------------------------------------------------------------------------


def test_v12_another_n_is_another_context_and_no_sum():
    """Who was told another n than the members contributes to nothing; the rest are as many as they are."""
    lab = Lab(small(floor=4))
    for i in lab.people:
        context = b"round 1, model 7, n = 9" if i == 0 else None
        message = lab.contribution(i, context=context)
        if i == 0:
            with pytest.raises(RemoteProtocolError, match="another session") as refusal:
                lab.server.receive(i, message)
            assert refusal.value.culprit == 0
        else:
            lab.server.receive(i, message)
    assert lab.finish().survivors == (1, 2, 3, 4)


def test_v12_a_server_that_passes_it_on_all_the_same_gets_no_share_of_it():
    """The name in the signature and the keys of the envelopes are of another session."""
    lab, wrong = Lab(), b"round 1, model 7, n = 9"
    other = lab.read(lab.contribution(0, context=wrong))
    deliveries = lab.until(Phase.REPORT)
    d = lab.read(deliveries[3])
    head = replace(
        d.heads[0],
        public=other.public,
        root=hashlib.sha256(b"".join(other.envelopes)).digest(),
    )
    d = replace(
        d, heads=(head, *d.heads[1:]), signatures=(other.signature, *d.signatures[1:]),
        envelopes=(other.envelopes[3], *d.envelopes[1:]),
    )  # fmt: skip
    with pytest.raises(RemoteProtocolError, match="did not sign"):
        lab.members[3].receive(lab.write(d))


def test_v12_members_of_another_context_sign_and_answer_nothing():
    lab = Lab()
    member = lab.member(3, context=b"round 1, model 7, n = 9")
    for phase in (Phase.REPORT, Phase.SIGN, Phase.ANSWER):
        message = lab.until(phase)[3]
        with pytest.raises(RemoteProtocolError, match="another session"):
            member.receive(message)
