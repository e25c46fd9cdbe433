"""C4, C5: what the key holder opens, and what a server that makes up sums would learn."""

import json
import os

import numpy as np
import pytest

import fedavg
import he
import he.roles.client
from he.coding.words import pack_words, restore_low_bits, unpack_words
from he.crypto.tags import UploadName
from he.params import DEGREE, MODULUS
from he.roles import keyholder as keyholder_module
from he.roles.keyholder import KeyHolder
from he.rounds import hash_context
from he.wire import SumChunk, encode_sum, open_sum, open_upload
from tests.he.support.rounds import collect, fresh_context, keys, random_vectors, uploads

SCHEMES = ["ckks", "bfv"]


class Round:
    """A round that ended honestly, in the hands of a server that now does what it likes."""

    def __init__(self, secret, vectors):
        self.secret = secret
        self.context = fresh_context()
        self.sent = uploads(secret, vectors, self.context)
        self.chunks = list(collect(secret, self.sent, self.context).result())

    def read(self, index=0):
        return open_sum(self.chunks[index], self.secret.public(), hash_context(self.context))

    def words(self, index=0):
        """The sum, uint64[parts, c, N]."""
        parts = self.secret.params.parts
        return unpack_words(self.read(index).body, 60).reshape(parts, -1, DEGREE)

    def upload(self, client_id):
        """Client's chunk, and its ciphertexts as the server adds them."""
        chunk = open_upload(
            self.sent[client_id][0], self.secret.public(), hash_context(self.context)
        )
        params = self.secret.params
        words = restore_low_bits(unpack_words(chunk.body, params.word_bits), params.word_bits)
        return chunk, words.reshape(params.parts, -1, DEGREE)

    def forge(self, words, *, names=None, tags=None, index=0):
        honest = self.read(index)
        chunk = SumChunk(
            honest.index,
            honest.vector_length,
            honest.contributors if names is None else names,
            honest.tags if tags is None else tuple(tag % MODULUS for tag in tags),
            pack_words(np.asarray(words, np.uint64), 60),
        )
        return encode_sum(chunk, self.secret.public(), hash_context(self.context))

    def open(self, chunks, min_clients=2):
        holder = KeyHolder(self.secret, min_clients=min_clients, context=self.context)
        return holder.decrypt(chunks)


@pytest.fixture
def no_tags(monkeypatch):
    """The mutant: a key holder that verifies no tag."""
    monkeypatch.setattr(KeyHolder, "_check_tags", lambda *_: None)


def never_called(*_):
    pytest.fail("an unverified sum was decrypted")


@pytest.fixture
def no_decryption(monkeypatch):
    monkeypatch.setattr("he.crypto.rlwe.Decryptor.phases", never_called)


def key_stealing_sum():
    """Σ(c0, c1) with ⌊q/t⌋ added to one coefficient of c1: its plaintext is Σm plus the key.

    In symmetric mode c1 follows from the nonces and does not travel; here it does.
    """
    secret = keys(2, 1000, "bfv", public_key=True)
    attack = Round(secret, np.zeros((2, 3 * DEGREE), np.int64))
    words = attack.words()
    words[1, 0, 0] = (int(words[1, 0, 0]) + MODULUS // secret.params.plain_modulus) % MODULUS
    return attack, attack.forge(words)


@pytest.mark.usefixtures("no_decryption")
def test_the_dishonest_opening_is_refused():
    attack, forged = key_stealing_sum()
    with pytest.raises(he.AuthenticationError, match="not the sum"):
        attack.open([forged])


@pytest.mark.usefixtures("no_tags")
def test_without_tags_one_dishonest_opening_gives_the_key():
    attack, forged = key_stealing_sum()
    key = attack.open([forged]).total[:DEGREE]
    assert set(key.tolist()) == {-1, 0, 1}
    # It is the key: c0 + c1·s, negacyclic and exact, is nothing but noise and the encoding of zero.
    _, words = attack.upload(1)
    first, second = words[0, 0], words[1, 0].astype(object)
    for place in (0, 17, DEGREE - 1):
        turned = np.concatenate((second[place::-1], -second[:place:-1]))
        noise = (int(first[place]) + int((turned * key).sum())) % MODULUS
        assert min(noise, MODULUS - noise) < 4000


@pytest.mark.usefixtures("no_decryption")
def test_another_nonce_would_be_another_c1_and_is_refused():
    """In symmetric mode the nonces are all that a server can say about c1."""
    attack = Round(keys(3, 1000), random_vectors(2, 10, 1000))
    one, two = attack.read().contributors
    chosen = UploadName(two.context, two.client_id, bytes(32), two.vector_length)
    with pytest.raises(he.AuthenticationError):
        attack.open([attack.forge(attack.words(), names=(one, chosen))])


@pytest.mark.usefixtures("no_tags")
def test_without_tags_another_c1_is_decrypted():
    attack = Round(keys(3, 1000), random_vectors(2, 10, 1000))
    one, two = attack.read().contributors
    chosen = UploadName(two.context, two.client_id, bytes(32), two.vector_length)
    decrypted = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "he.crypto.streams.UniformSums.__init__", lambda _, nonces, __: decrypted.append(nonces)
        )
        patch.setattr("he.crypto.rlwe.Phases.next", lambda _, parts: np.zeros(parts.shape[1:], int))
        attack.open([attack.forge(attack.words(), names=(one, chosen))])
    assert decrypted[0][1] == bytes(32)


@pytest.mark.usefixtures("no_decryption")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_clients_upload_does_not_pass_for_a_sum(scheme):
    """The server hands in client 1's ciphertext and tag under both clients' names."""
    attack = Round(keys(3, 1000, scheme), random_vectors(2, 10, 1000))
    chunk, words = attack.upload(1)
    with pytest.raises(he.AuthenticationError):
        attack.open([attack.forge(words, tags=chunk.tags)])


@pytest.mark.usefixtures("no_tags")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_without_tags_a_single_input_is_opened(scheme):
    vectors = random_vectors(2, 10, 1000)
    attack = Round(keys(3, 1000, scheme, public_key=True), vectors)
    _, words = attack.upload(1)
    assert np.array_equal(attack.open([attack.forge(words)]).total, vectors[1])


@pytest.mark.usefixtures("no_decryption")
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("multiple", [2, 3, MODULUS - 1])
def test_multiples_of_a_sum_are_refused(scheme, multiple):
    """Scaling magnifies the noise up to where it can be read off the rounded values."""
    attack = Round(keys(3, 1000, scheme), random_vectors(2, 10, 1000))
    honest = attack.read()
    scaled = attack.words().astype(object) * multiple % MODULUS
    with pytest.raises(he.AuthenticationError):
        attack.open([attack.forge(scaled, tags=[tag * multiple for tag in honest.tags])])


@pytest.mark.usefixtures("no_decryption")
def test_doubled_and_invented_contributors_are_refused():
    attack = Round(keys(3, 1000), random_vectors(2, 10, 1000))
    honest = attack.read()
    body = attack.words()
    one, two = honest.contributors
    invented = UploadName(one.context, 9, bytes(32), one.vector_length)
    renamed = UploadName(one.context, 3, two.nonce, two.vector_length)
    with pytest.raises(he.WireFormatError, match="ascend"):
        attack.open([attack.forge(body, names=(one, one))])
    with pytest.raises(he.WireFormatError, match="ascend"):
        attack.open([attack.forge(body, names=(two, one))])
    for names in ((one, two, invented), (one, renamed), (one, invented)):
        with pytest.raises(he.AuthenticationError):
            attack.open([attack.forge(body, names=names)])


@pytest.mark.usefixtures("no_decryption")
def test_any_changed_bit_of_a_sum_is_refused():
    attack = Round(keys(3, 1000), random_vectors(2, 10, 1000))
    data = attack.chunks[0]
    for place in [*range(0, 160, 2), 5000, 20_000, len(data) - 1]:
        damaged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(he.HeError):
            attack.open([damaged])


@pytest.mark.usefixtures("no_decryption")
def test_too_few_and_too_many_contributors_are_refused():
    attack = Round(keys(4, 1000), random_vectors(2, 10, 1000))
    with pytest.raises(he.RemoteProtocolError, match="fewer than min_clients=3"):
        attack.open(attack.chunks, min_clients=3)
    honest = attack.read()
    crowd = tuple(
        UploadName(n.context, i, n.nonce, 10) for i in range(5) for n in honest.contributors[:1]
    )
    with pytest.raises(he.RemoteProtocolError, match="more than the 4"):
        attack.open([attack.forge(attack.words(), names=crowd)])


def test_without_the_floor_a_sum_of_one_is_opened(monkeypatch):
    """Mutant: client 0's input, shown as the sum that it is."""
    vectors = random_vectors(1, 10, 1000)
    attack = Round(keys(3, 1000), vectors)
    with pytest.raises(he.RemoteProtocolError, match="min_clients"):
        attack.open(attack.chunks)
    monkeypatch.setattr(KeyHolder, "_check_contributors", lambda *_: None)
    assert np.array_equal(attack.open(attack.chunks).total, vectors[0])


@pytest.mark.usefixtures("no_decryption")
def test_a_sum_of_another_round_is_refused():
    attack = Round(keys(3, 1000), random_vectors(2, 10, 1000))
    holder = KeyHolder(attack.secret, min_clients=2, context=b"the next round")
    with pytest.raises(he.ContextMismatchError, match="another round"):
        holder.decrypt(attack.chunks)


@pytest.mark.usefixtures("no_decryption")
def test_missing_repeated_and_reordered_chunks_are_refused():
    secret = keys(3, 2**25)
    attack = Round(secret, random_vectors(2, 32 * secret.params.values_per_ciphertext + 1, 2**25))
    other = Round(secret, random_vectors(2, 32 * secret.params.values_per_ciphertext + 1, 2**25))
    other.context = attack.context
    first, second, third = attack.chunks
    for chunks in (
        [],
        [first],
        [first, second],
        [second, third],
        [first, third, second],
        [first, second, second],
        [first, second, third, third],
        [first, first],
    ):
        with pytest.raises(he.WireFormatError):
            attack.open(chunks)
    with pytest.raises(he.ContextMismatchError):
        attack.open([first, other.chunks[1], third])


@pytest.mark.usefixtures("no_decryption")
def test_chunks_cannot_change_places_or_be_spliced_from_two_sums():
    """Chunk 1 under the number 2; chunk 1 of a sum of other clients in the same round."""
    secret = keys(3, 2**25)
    vectors = random_vectors(3, 32 * secret.params.values_per_ciphertext + 1, 2**25)
    attack = Round(secret, vectors)
    whole = attack.read(1)
    moved = SumChunk(
        2, whole.vector_length, (), whole.tags[:1], whole.body[: len(whole.body) // 16]
    )
    moved = encode_sum(moved, secret.public(), hash_context(attack.context))
    with pytest.raises(he.AuthenticationError, match="chunk 2"):
        attack.open([attack.chunks[0], attack.chunks[1], moved])
    fewer = {client_id: attack.sent[client_id] for client_id in (0, 1)}
    spliced = list(collect(secret, fewer, attack.context).result())[1]
    with pytest.raises(he.AuthenticationError, match="chunk 1"):
        attack.open([attack.chunks[0], spliced, attack.chunks[2]])


def subset_sums():
    vectors = random_vectors(3, 10, 1000)
    attack = Round(keys(3, 1000), vectors)
    two = {client_id: attack.sent[client_id] for client_id in (0, 1)}
    return attack, list(collect(attack.secret, two, attack.context).result()), vectors


def test_a_second_sum_of_a_round_is_refused():
    """The difference of two sums is client 2's input."""
    attack, subset, vectors = subset_sums()
    holder = KeyHolder(attack.secret, min_clients=2, context=attack.context)
    assert np.array_equal(holder.decrypt(attack.chunks).total, vectors.sum(axis=0))
    for chunks in (subset, attack.chunks):
        with pytest.raises(he.LocalProtocolError, match="opened already"):
            holder.decrypt(chunks)
        with pytest.raises(he.LocalProtocolError, match="opened already"):
            attack.open(chunks)


def test_without_the_claim_the_difference_shows_an_input(monkeypatch):
    """Mutant: a key holder that forgets which rounds it opened."""
    monkeypatch.setattr("he.crypto.context.SecretContext.claim_opening", lambda *_: None)
    attack, subset, vectors = subset_sums()
    difference = attack.open(attack.chunks).total - attack.open(subset).total
    assert np.array_equal(difference, vectors[2])


def opened_in_a_fork(holder, chunks):
    """The opened sum, or the refusal, of a key holder that was copied by fork."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writing, str(holder.decrypt(chunks).total.tolist()).encode())
        except he.LocalProtocolError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as file:
        return file.read()


def test_c9_a_fork_opens_no_second_sum(tmp_path):
    """Servers fork their workers: two of them opened two sums of one round."""
    attack, subset, vectors = subset_sums()
    holder = KeyHolder(attack.secret, min_clients=2, context=attack.context)
    assert "from which this one was forked" in opened_in_a_fork(holder, subset)
    assert np.array_equal(holder.decrypt(attack.chunks).total, vectors.sum(axis=0))
    # With a journal that all processes share, one of them opens the round.
    attack, subset, vectors = subset_sums()
    journal = fedavg.FileJournal(tmp_path / "opened")
    holder = KeyHolder(attack.secret, min_clients=2, context=attack.context, journal=journal)
    assert opened_in_a_fork(holder, attack.chunks) == str(vectors.sum(axis=0).tolist())
    with pytest.raises(he.LocalProtocolError, match="the journal says"):
        holder.decrypt(subset)


def test_c9_mutant_that_opens_in_a_fork(monkeypatch):
    monkeypatch.setattr("he.crypto.context.SecretContext.check_process", lambda _: None)
    attack, subset, vectors = subset_sums()
    holder = KeyHolder(attack.secret, min_clients=2, context=attack.context)
    other = np.array(json.loads(opened_in_a_fork(holder, subset)))
    assert np.array_equal(holder.decrypt(attack.chunks).total - other, vectors[2])


def test_a_refused_sum_does_not_use_up_the_round():
    attack, _, vectors = subset_sums()
    for hopeless in ([], [attack.forge(np.zeros((1, 1, DEGREE), np.uint64))]):
        with pytest.raises(he.HeError):
            attack.open(hopeless)
    assert np.array_equal(attack.open(attack.chunks).total, vectors.sum(axis=0))


def extrapolated(attack):
    """One client's two uploads of one round, c and c', combined to 2c − c', likewise the tags."""
    secret, context = attack.secret, attack.context
    again = Round.__new__(Round)
    again.secret, again.context = secret, context
    again.sent = uploads(secret, random_vectors(2, 10, 100, seed=9), context)
    (one, c), (two, d) = attack.upload(1), again.upload(1)
    other, e = attack.upload(0)
    body = (2 * c.astype(object) - d + e.astype(object)) % MODULUS
    tags = [2 * x - y + z for x, y, z in zip(one.tags, two.tags, other.tags, strict=True)]
    return attack.forge(body, tags=tags)


def test_two_uploads_of_one_client_do_not_let_the_server_extrapolate():
    attack = Round(keys(3, 1000), random_vectors(2, 10, 100))
    with pytest.raises(he.AuthenticationError):
        attack.open([extrapolated(attack)])


def test_with_a_repeated_nonce_the_server_could_extrapolate(monkeypatch):
    """Mutant: F_k repeats, the two tags' difference is a relation of r, and the forged sum opens."""
    monkeypatch.setattr("he.roles.client.secrets.token_bytes", bytes)
    attack = Round(keys(3, 1000), random_vectors(2, 10, 100))
    honest, again = random_vectors(2, 10, 100), random_vectors(2, 10, 100, seed=9)
    opened = attack.open([extrapolated(attack)]).total
    assert np.array_equal(opened, 2 * honest[1] - again[1] + honest[0])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_input_beyond_the_bound_is_refused_at_its_client_and_at_the_opening(scheme, monkeypatch):
    """C4: never a silent wrap. The mutant client checks nothing; the key holder still does."""
    secret = keys(3, 1000, scheme)
    vectors = np.array([[1, 2, 3], [1, 3500, 3]])
    with pytest.raises(he.CapacityError, match="max_abs=1000"):
        Round(secret, vectors)
    monkeypatch.setattr("he.roles.client.check_vector", lambda *_: None)
    attack = Round(secret, vectors)
    with pytest.raises(he.RemoteProtocolError):
        attack.open(attack.chunks)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_without_both_checks_a_sum_wraps_silently(scheme, monkeypatch):
    """Mutant of C4: digits carry into one another, and no check fails."""
    secret = keys(3, 1000, scheme)
    monkeypatch.setattr("he.roles.client.check_vector", lambda *_: None)
    radix, bound = secret.params.radix, secret.params.slot_bound

    def careless(packed, params, *, contributors):
        del contributors
        digits = (packed + bound) % radix - radix // 2
        return np.resize(digits, len(packed) * params.values_per_ciphertext)

    monkeypatch.setattr(keyholder_module, "unpack", careless)
    attack = Round(secret, np.full((2, secret.params.values_per_ciphertext), 3500))
    opened = attack.open(attack.chunks).total
    assert not np.array_equal(opened[:10], np.full(10, 7000))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("behind", [7, 1400, -2900])
@pytest.mark.parametrize("length", [10, 4090, 9000])
def test_filled_padding_is_no_part_of_the_sum(scheme, behind, length, monkeypatch):
    """C5: a member hides values behind the end of its vector. It cannot spoil the round by that."""
    vectors = random_vectors(2, length, 1000)
    filled_by(monkeypatch, {length: behind})
    attack = Round(keys(3, 1000, scheme), vectors)
    assert np.array_equal(attack.open(attack.chunks).total, vectors.sum(axis=0))


def test_residues_with_filled_padding_open_to_their_sum(monkeypatch):
    """The same where the plain modulus wraps."""
    secret = he.SecretContext.generate(he.Params.for_sum(3, ring_bits=20, scheme="bfv"))
    assert secret.params.layout.modular
    vectors = np.abs(random_vectors(2, 5000, 2**20 - 1))
    filled_by(monkeypatch, {5000: 2**20 - 1})
    attack = Round(secret, vectors)
    total = attack.open(attack.chunks).total
    assert np.array_equal(total % 2**20, vectors.sum(axis=0) % 2**20)


def test_mutant_that_reads_padding_lets_any_member_spoil_the_round(monkeypatch):
    """Without the clearing, values out of range behind the vector fail the opening, which names no client."""
    monkeypatch.setattr(keyholder_module, "clear_padding", lambda *_: None)
    filled_by(monkeypatch, {10: 1400})
    attack = Round(keys(3, 1000), random_vectors(2, 10, 1000))
    with pytest.raises(he.RemoteProtocolError, match="beyond what its contributors"):
        attack.open(attack.chunks)


def filled_by(monkeypatch, behind):
    """Clients put a value behind vectors of these lengths, into every place that is left."""
    honest = he.roles.client.pack

    def filled(values, params):
        value = behind.get(len(values))
        if value is None:
            return honest(values, params)
        size = params.ciphertexts(len(values)) * params.values_per_ciphertext
        return honest(np.concatenate((values, np.full(size - len(values), value))), params)

    monkeypatch.setattr("he.roles.client.pack", filled)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_ckks_shows_integers_and_no_noise(scheme):
    """Li and Micciancio's attack needs the noise of the opened values: there is none."""
    attack = Round(keys(3, 1000, scheme), np.zeros((2, 4096), np.int64))
    opened = attack.open(attack.chunks).total
    assert opened.dtype == np.int64
    assert not opened.any()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_coefficients_on_the_wire_look_uniform(scheme):
    """χ² of the leading 6 bits of 81,920 coefficients over 64 cells, twenty uploads of zeros.

    Threshold 176.7 at 63 degrees of freedom: false alarm 1e-12. The cells' edges lie on multiples of
    2^54 and q = 2^60 − 16,383: the last cell's lack of 10^-12 of its mass is far below notice.
    """
    secret = keys(20, 1000, scheme)
    sent = uploads(secret, np.zeros((20, 5), np.int64), fresh_context())
    seen = np.concatenate([he.ciphertext_coefficients(chunks[0]) for chunks in sent.values()])
    counts = np.bincount((seen >> np.uint64(54)).astype(np.int64), minlength=64)
    expected = seen.size / 64
    assert ((counts - expected) ** 2 / expected).sum() < 176.7
    plain = np.zeros(seen.size, np.int64)  # what the test would say to unencrypted zeros
    bare = np.bincount(plain, minlength=64)
    assert ((bare - expected) ** 2 / expected).sum() > 176.7


@pytest.mark.usefixtures("no_decryption")
def test_truncated_and_surplus_bytes_of_a_sum_are_refused():
    attack = Round(keys(3, 1000), random_vectors(2, 10, 1000))
    data = attack.chunks[0]
    for cut in (data[:-1], data[:-15], data + b"\0", data + bytes(15), data[:79], data[:81], b""):
        with pytest.raises(he.WireFormatError):
            attack.open([cut])


@pytest.mark.usefixtures("no_decryption")
def test_every_chunk_of_a_sum_speaks_of_the_same_vector_and_only_the_first_names_clients():
    secret = keys(3, 2**25)
    attack = Round(secret, random_vectors(2, 16 * secret.params.values_per_ciphertext + 9, 2**25))
    first, second = attack.chunks
    read, context = attack.read(1), hash_context(attack.context)
    head = attack.read(0)
    shorter = SumChunk(1, read.vector_length - 1, (), read.tags, read.body)
    named = SumChunk(1, read.vector_length, head.contributors, read.tags, read.body)
    nameless = SumChunk(0, head.vector_length, (), head.tags, head.body)
    for chunks in ([first, shorter], [first, named], [nameless, second]):
        data = [
            c if isinstance(c, bytes) else encode_sum(c, secret.public(), context) for c in chunks
        ]
        with pytest.raises(he.WireFormatError):
            attack.open(data)
