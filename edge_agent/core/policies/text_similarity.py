"""How much texts agree, without an LLM: by the short pieces of text they share."""

from __future__ import annotations

from collections.abc import Sequence

PIECE_LENGTH = 3  # characters: long enough to tell words apart, short enough to forgive an ending; any script
LOOKED_AT_CHARACTERS_MAX = 4_096  # of each text: bounds a layer of 17 long responses to a fraction of a second


def similarities(texts: Sequence[str]) -> list[list[float]]:
    """Returns for each pair of texts a number from 0 (nothing in common) to 1 (the same pieces).

    It is the resemblance |A ∩ B| / |A ∪ B| (Jaccard; Broder 1997) of the sets of three-character pieces, without case
    and with all white space as one blank. It sees wording, not meaning: two correct answers in different words differ.
    """
    sets = [_pieces(text) for text in texts]
    result = [[1.0] * len(sets) for _ in sets]
    for row, one in enumerate(sets):
        for column in range(row):
            other = sets[column]
            shared = len(one & other)
            union = len(one) + len(other) - shared
            result[row][column] = result[column][row] = shared / union if union else 1.0
    return result


def _pieces(text: str) -> set[str]:
    plain = " ".join(text[:LOOKED_AT_CHARACTERS_MAX].casefold().split())
    padded = f" {plain} "
    return {padded[at : at + PIECE_LENGTH] for at in range(len(padded) - PIECE_LENGTH + 1)}
