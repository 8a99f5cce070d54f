"""C2SP tlog-checkpoint and tlog-cosignature."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import cosignature, note
from audit.checkpoint import Checkpoint, open_checkpoint, sign, with_signatures
from audit.cosignature import Cosigner, Quorum, WitnessKey
from audit.errors import FormatError, QuorumError, SignatureError, UnsignedError
from audit.note import Signature, SigningKey

# The example of the C2SP tlog-checkpoint specification.
SPEC_BODY = b"example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
LOG = SigningKey("example.com/behind-the-sofa", b"\x07" * 32)
TREE = Checkpoint.parse(SPEC_BODY)
W1, W2, W3 = (
    Cosigner(SigningKey(f"witness.example.com/w{n}", bytes([n]) * 32), clock=lambda: 1679315147.9) for n in (1, 2, 3)
)


def test_the_body_of_the_specification() -> None:
    assert Checkpoint("example.com/behind-the-sofa", 20852163, TREE.root) == TREE
    assert TREE.body() == SPEC_BODY


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_every_checkpoint_comes_back(size: int, root: bytes) -> None:
    tree = Checkpoint("a b/c", size, root, ("one", "two"))
    assert Checkpoint.parse(tree.body()) == tree


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"a\n1\n",
        b"a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
        b"\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        b"a\n01\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        b"a\n-1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        b"a\n+1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        b"a\n1 \nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        b"a\n0x1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        b"a\n\xd9\xa1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        b"a\n9223372036854775808\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        b"a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I\n",
        b"a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n",
        b"a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxqw==\n",
        b"a\n1\nCsUYapGGPo4dkMgIAUqom_Xajj7h2fB2MPA3j2jxq2I=\n",
        b"a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n",
        b"a\r\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
    ],
)
def test_what_is_not_a_checkpoint_is_refused(body: bytes) -> None:
    with pytest.raises(FormatError):
        Checkpoint.parse(body)


@pytest.mark.parametrize(
    "tree",
    [
        Checkpoint("", 1, bytes(32)),
        Checkpoint("a\nb", 1, bytes(32)),
        Checkpoint("a", -1, bytes(32)),
        Checkpoint("a", 1, bytes(31)),
        Checkpoint("a", 1, bytes(32), ("",)),
    ],
)
def test_what_could_not_be_read_is_not_written(tree: Checkpoint) -> None:
    with pytest.raises(FormatError):
        tree.body()


def test_a_signed_checkpoint_opens() -> None:
    opened = open_checkpoint(sign(TREE, [LOG]), LOG.name, [LOG.verifier])
    assert opened.checkpoint == TREE


def test_a_checkpoint_of_another_log_is_refused() -> None:
    with pytest.raises(FormatError, match="the checkpoint of another log"):
        open_checkpoint(sign(TREE, [LOG]), "example.com/other", [LOG.verifier])


def test_a_checkpoint_that_only_a_witness_signed_is_refused() -> None:
    with pytest.raises(UnsignedError):
        open_checkpoint(sign(TREE, [W1]), LOG.name, [LOG.verifier])


def test_a_cosignature_signs_what_the_specification_says() -> None:
    """tlog-cosignature, 'Ed25519 signed message'."""
    assert cosignature.message(1679315147, SPEC_BODY) == b"cosignature/v1\ntime 1679315147\n" + SPEC_BODY
    made = W1.sign(SPEC_BODY)
    assert made[:8] == (1679315147).to_bytes(8, "big")
    assert W1.verifier.verifies(SPEC_BODY, made)
    assert cosignature.timestamp(Signature(W1.name, W1.key_id, made)) == 1679315147


def test_a_witness_s_key_has_its_own_type_and_id() -> None:
    vkey = str(W1.verifier)
    assert WitnessKey.parse(vkey) == W1.verifier
    assert W1.key_id != W1.key.key_id
    with pytest.raises(FormatError, match="type 0x01"):
        note.VerifierKey.parse(vkey)


@given(st.integers(0, 71), st.integers(0, 7))
def test_every_flipped_bit_of_a_cosignature_is_noticed(at: int, bit: int) -> None:
    damaged = bytearray(W1.sign(SPEC_BODY))
    damaged[at] ^= 1 << bit
    assert not W1.verifier.verifies(SPEC_BODY, bytes(damaged))


@pytest.mark.parametrize("seconds", [0, 2**63])
def test_a_cosignature_with_an_impossible_time_is_refused(seconds: int) -> None:
    signed = W1.key.sign(cosignature.message(seconds, SPEC_BODY))
    assert not W1.verifier.verifies(SPEC_BODY, seconds.to_bytes(8, "big") + signed)


def test_a_witness_cosigns_nothing_but_checkpoints() -> None:
    with pytest.raises(FormatError):
        W1.sign(b"any text\n")


def test_a_quorum_counts_its_witnesses_once_each() -> None:
    data = sign(TREE, [LOG, W1, W2])
    keys = (W1.verifier, W2.verifier, W3.verifier)
    assert len(Quorum(keys, 2).check(data)) == 2
    with pytest.raises(QuorumError) as caught:
        Quorum(keys, 3).check(data)
    assert (caught.value.expected, len(caught.value.found)) == (3, 2)


def test_two_cosignatures_of_one_witness_are_one() -> None:
    later = Cosigner(W1.key, clock=lambda: 1700000000)
    data = sign(TREE, [LOG, W1]) + Signature(W1.name, W1.key_id, later.sign(SPEC_BODY)).line().encode()
    with pytest.raises(QuorumError):
        Quorum((W1.verifier, W2.verifier), 2).check(data)


def test_a_bad_cosignature_of_a_known_witness_is_not_just_ignored() -> None:
    data = sign(TREE, [LOG]) + Signature(W1.name, W1.key_id, bytes(72)).line().encode()
    with pytest.raises(SignatureError, match="known witness"):
        Quorum((W1.verifier, W2.verifier), 0).check(data)


@pytest.mark.parametrize(("keys", "least"), [((), 1), ((W1, W1), 1), ((W1,), 2), ((W1,), -1)])
def test_a_quorum_that_cannot_be_had_is_refused(keys: tuple[Cosigner, ...], least: int) -> None:
    with pytest.raises(FormatError):
        Quorum(tuple(key.verifier for key in keys), least)


def test_a_new_cosignature_takes_the_place_of_the_same_witness_s_last() -> None:
    later = Cosigner(W1.key, clock=lambda: 1700000000)
    made = Signature(W1.name, W1.key_id, later.sign(SPEC_BODY))
    data = with_signatures(sign(TREE, [LOG, W1]), [made])
    assert data == with_signatures(sign(TREE, [LOG]), [made])
    assert Quorum((W1.verifier,), 1).check(data) == (made,)


# A checkpoint of the public test log arche2025h1.staging.ct.transparency.dev, as four public witnesses cosigned it.
REAL = """arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev \
zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev \
ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden \
2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 \
pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de \
2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu \
Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
""".encode()
REAL_KEY = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
REAL_WITNESSES = [
    "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
]


def test_a_public_log_s_checkpoint_with_the_cosignatures_of_public_witnesses() -> None:
    key = note.VerifierKey.parse(REAL_KEY)
    opened = open_checkpoint(REAL, key.name, [key])
    assert opened.checkpoint.size == 1432088532
    found = Quorum(tuple(map(WitnessKey.parse, REAL_WITNESSES)), 4).check(REAL)
    assert [cosignature.timestamp(signature) for signature in found] == [0x6A122120] * 4


def test_a_public_checkpoint_with_another_size_is_refused_by_each_witness() -> None:
    damaged = REAL.replace(b"1432088532", b"1432088533")
    for text in REAL_WITNESSES:
        with pytest.raises(SignatureError):
            Quorum((WitnessKey.parse(text),), 1).check(damaged)
