"""Which keys a partition may hold already: a Bloom filter, so that most batches need not ask PostgreSQL.

>>> seen = Seen()
>>> seen.meet([7, -9]), seen.meet([7, 8])
([], [0])

INVARIANT: a key that was met is never said to be new. A new one is sometimes said to be known, and PostgreSQL then
says that it is not. So answers stay exact, and memory is bounded: 1 MiB, whatever the log holds. At a million keys one
in twenty is asked for in vain, at four millions two in five.

It must have met every key from the log's beginning: a projector that opens anywhere else has none.
"""

from collections.abc import Iterable

_BITS = 1 << 23
_MASK = _BITS - 1


class Seen:
    """Counts 64-bit key hashes as met. Two bits for each."""

    __slots__ = ("_bits",)

    def __init__(self) -> None:
        self._bits = bytearray(_BITS // 8)

    def meet(self, hashes: Iterable[int]) -> list[int]:
        """The indexes of those that may have been met before, earlier ones of this call too; now all have been."""
        bits, perhaps = self._bits, []
        for i, key_hash in enumerate(hashes):
            one, two = key_hash & _MASK, key_hash >> 32 & _MASK
            of_one, of_two = 1 << (one & 7), 1 << (two & 7)
            one >>= 3
            two >>= 3
            if bits[one] & of_one and bits[two] & of_two:
                perhaps.append(i)
            else:
                bits[one] |= of_one
                bits[two] |= of_two
        return perhaps
