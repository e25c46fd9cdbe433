"""Every attack on the list has a test, and a mutant without the defence that the test catches.

Most are found by name: `test_s1_…` for the attack, `test_s1_mutant_…` for the mutant. Tests whose
names say something else are named here.
"""

from __future__ import annotations

import ast
import functools

import pytest

from tests.arch.tree import ROOT, tree

ATTACKS = {
    "S1": "both secrets of one client",
    "S2": "a split view of survivors, partners or neighbours",
    "S3": "lies about the living",
    "S4": "weak parameters",
    "S5": "a small cohort",
    "S6": "a tampered key directory",
    "S7": "a man in the middle, and clients that the server made up",
    "S8": "replays of sessions, messages and routes",
    "S9": "every message at every wrong time",
    "S10": "keys or masks used twice",
    "S11": "inputs that come late, or twice",
    "S12": "bad shares, and false claims about them",
    "S13": "models that differ",
    "S14": "differencing over rounds",
    "S15": "liars in the receipts",
    "S16": "the same bad dealer every round",
    "S17": "speaking in another's name",
    "S18": "a cohort that the server draws for itself",
    "S19": "two threads at one client",
    "S20": "secrets in what a failure leaves behind",
    "S21": "a session joined again after a restart",
    "S22": "an executor that skips or repeats tasks",
    "S23": "a test's entropy in other threads",
    "S24": "copies of a suspended client",
    "E1": "a weak mask generator",
    "E2": "biased masks",
    "E3": "overflow of the ring",
    "E4": "inputs that are no finite integers",
    "E5": "weights and metadata in the clear",
    "E6": "values beyond the clip range",
    "E7": "arrays and numbers in disguise",
    "E8": "a vector that changes after its check",
    "E9": "a buffer that is used again for the next message",
    "C1": "the secret key leaves",
    "C2": "another key's ciphertext",
    "C3": "a damaged ciphertext",
    "C4": "a sum that wraps in silence",
    "C5": "decryption as an oracle",
    "C6": "a shared key and one traitor",
    "C7": "weak lattice parameters",
    "C8": "a first sender that decides for all",
    "C9": "one round, two openings over a restart",
    "C10": "two ciphertexts under one nonce",
    "D1": "a wrong sensitivity",
    "D2": "classical calibration beyond its range",
    "D3": "sampling that was not done",
    "D4": "noise lost with drop-outs or traitors",
    "D5": "floating-point noise",
    "D6": "repeated noise",
    "D7": "rounding that raises the norm",
    "D8": "a budget exceeded, raced or not a number",
    "D9": "an empty cohort",
    "D10": "samplers that are not exact",
    "D11": "one client more",
    "D12": "a ledger by another name",
    "D13": "noise that is wrong in its pattern",
    "D14": "a model that says by standing still that its round failed",
    "D15": "an array that was handed out and is written to",
    "R1": "one unit more",
    "R2": "a silo that leaves with its noise",
    "R3": "a coin that shows",
    "R4": "one row more",
    "R5": "local steps",
    "R6": "layers and losses across records",
    "R7": "attempts at a step",
    "R8": "twenty visits",
    "O1": "bytes from hell",
    "O2": "a crafted but consistent model",
    "O3": "secrets where they should not be",
    "O4": "promises without tests",
    "V1": "members that are told different sets",
    "V2": "a member asked twice",
    "V3": "sets that no member may sign or add up",
    "V4": "rubbish shares",
    "V5": "lying members",
    "V6": "a one-time key used twice",
    "V7": "contributions swapped, copied and mauled",
    "V8": "more colluding members than the threshold",
    "V9": "too few answers, and rounds that failed late",
    "V10": "hints on the keys of two honest clients",
    "V11": "members and clients that slander",
    "V12": "an n that lies",
}

KEYS, ENVELOPES, OPENING = (
    f"hostile/he/{n}.py" for n in ("keys/test_keys", "test_envelopes", "test_opening")
)
CLAIMS, SENSITIVITY = (f"hostile/dp/test_{n}.py" for n in ("claims", "sensitivity"))
NOISE, SHARES = (f"hostile/dp/noise/test_{n}.py" for n in ("noise", "shares"))
BUDGET = "hostile/dp/ledgers/test_budget.py"

NAMED = {
    "C1": [
        (KEYS, "test_no_secret_is_in_what_the_server_receives"),
        (KEYS, "test_keys_are_neither_pickled_nor_copied_nor_printed"),
    ],
    "C2": [(KEYS, "test_another_keys_ciphertext_is_refused_before_arithmetic")],
    "C3": [(ENVELOPES, "test_a_flipped_bit_never_reaches_the_parser")],
    "C4": [(OPENING, "test_an_input_beyond_the_bound_is_refused_at_its_client_and_at_the_opening")],
    "C5": [
        (OPENING, "test_the_dishonest_opening_is_refused"),
        (OPENING, "test_a_second_sum_of_a_round_is_refused"),
        (OPENING, "test_ckks_shows_integers_and_no_noise"),
    ],
    "D1": [(SENSITIVITY, "test_no_attack_does_better_than_the_claim")],
    "D2": [(CLAIMS, "test_calibration_keeps_its_promise_at_any_epsilon")],
    "D3": [
        (CLAIMS, "test_fixed_cohorts_get_no_poisson_amplification"),
        (CLAIMS, "test_no_theorem_no_claim"),
    ],
    "D4": [(SHARES, "test_the_fewest_honest_survivors_still_carry_the_claimed_noise")],
    "D5": [(NOISE, "test_neighbours_have_the_same_support")],
    "D6": [(NOISE, "test_there_is_no_seed"), (NOISE, "test_forked_workers_differ")],
    "D7": [(SENSITIVITY, "test_rounding_never_passes_the_bound")],
    "D8": [(BUDGET, "test_budget_is_hard"), (BUDGET, "test_two_rounds_racing")],
    "D9": [(SHARES, "test_an_empty_draw_is_a_round_like_any_other")],
    "D10": [
        ("hostile/dp/noise/test_samplers.py", "test_discrete_gaussian_by_rational_enumeration")
    ],
    "O1": [
        ("secagg/wire/test_codec.py", "test_damage_is_refused_or_another_canonical_message"),
        (ENVELOPES, "test_decoders_accept_or_raise_a_typed_error"),
        ("fedavg/protocol/test_messages.py", "test_any_bytes_are_a_message_or_a_wire_format_error"),
    ],
    "O3": [
        ("arch/test_source.py", "test_no_unsafe_loader"),
        ("arch/test_source.py", "test_protocol_packages_neither_print_nor_log"),
    ],
    "O4": [("arch/test_documents.py", "test_every_promise_names_a_test_that_exists")],
}

NAMED_MUTANTS = {
    "C1": [(KEYS, "test_the_search_for_leaks_finds_one")],
    "C2": [(KEYS, "test_without_fingerprint_and_signature_the_stranger_would_spoil_the_sum")],
    "C3": [(ENVELOPES, "test_without_the_signature_a_flipped_bit_is_added")],
    "C4": [(OPENING, "test_without_both_checks_a_sum_wraps_silently")],
    "C5": [
        (OPENING, "test_without_tags_one_dishonest_opening_gives_the_key"),
        (OPENING, "test_without_the_claim_the_difference_shows_an_input"),
    ],
    "D1": [(SENSITIVITY, "test_the_attack_finds_a_sensitivity_of_the_mean_in_place_of_the_sum")],
    "D2": [(CLAIMS, "test_the_classical_formula_is_found_out")],
    "D3": [
        (CLAIMS, "test_mutant_that_treats_fixed_as_poisson_is_below_the_attack"),
        (CLAIMS, "test_mutant_without_the_sampling_check_accepts_anything"),
    ],
    "D4": [(SHARES, "test_mutant_sized_for_the_whole_roster_falls_short")],
    "D5": [(NOISE, "test_mutant_with_float_noise_gives_the_input_away")],
    "D6": [(NOISE, "test_mutant_with_one_keystream_for_all_repeats_itself")],
    "D7": [(SENSITIVITY, "test_mutant_without_the_condition_passes_the_bound")],
    "D8": [
        (BUDGET, "test_mutant_without_the_check_spends_on"),
        (BUDGET, "test_mutant_without_the_lock_lets_both_through"),
    ],
    "D9": [(SHARES, "test_mutant_that_skips_empty_draws_tells_of_them")],
    "D10": [
        (
            "hostile/dp/noise/test_samplers.py",
            "test_mutant_with_a_short_tail_misses_the_stated_error",
        )
    ],
    "O3": [("arch/test_source.py", "test_each_rule_catches_a_planted_breach")],
    "O4": [("arch/test_documents.py", "test_a_promise_without_a_test_would_be_found")],
}


@functools.cache
def functions_by_file():
    """File below tests/ → the test functions in it."""
    found = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        # pytest collects what stands at the top; to walk through all else takes seconds
        names = {n.name for n in tree(path).body if isinstance(n, ast.FunctionDef)}
        found[path.relative_to(ROOT / "tests").as_posix()] = names
    return found


def by_name(attack, *, mutant):
    """Tests anywhere that carry an attack's id among the words of their name."""
    return [
        name
        for names in functions_by_file().values()
        for name in names
        if name.startswith("test_")
        and attack.lower() in name.split("_")
        and bool({"mutant", "mutants"} & set(name.split("_"))) is mutant
    ]


def missing(table, attack):
    return [
        place for place in table.get(attack, ()) if place[1] not in functions_by_file()[place[0]]
    ]


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_has_a_test(attack):
    assert by_name(attack, mutant=False) or NAMED.get(attack), ATTACKS[attack]
    assert not missing(NAMED, attack)


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_has_a_mutant(attack):
    assert by_name(attack, mutant=True) or NAMED_MUTANTS.get(attack), ATTACKS[attack]
    assert not missing(NAMED_MUTANTS, attack)


def test_no_test_is_of_an_attack_that_is_not_listed():
    words = {
        word
        for file, names in functions_by_file().items()
        if file.startswith("hostile/")
        for name in names
        for word in name.split("_")[1:3]
        if word[:1] in "secdov" and word[1:].isdigit()
    }
    assert words <= {attack.lower() for attack in ATTACKS}
    assert len(words) > 15


def test_an_attack_without_a_test_would_be_found():
    assert not by_name("S99", mutant=False)
    assert missing({"S99": [(KEYS, "test_that_is_not_there")]}, "S99")
