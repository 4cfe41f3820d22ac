"""Draw how often each recording is seen in an epoch of pre-training, so that languages with little speech are seen more.

As for XLS-R (Babu et al. 2021): of the audio of an epoch a corpus of n hours is given the share n**alpha / sum(n**alpha),
and within it each of its languages the share of its hours by the same formula. With one corpus this is XLSR's sampling.

Legend: N recordings, G groups (each a language of a corpus).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from st.data.direction_sampling import check_alpha, spread_places

Numbers = npt.NDArray[np.int64]


def audio_shares(samples: Numbers, corpora: Numbers, alpha: float) -> npt.NDArray[np.float64]:
    """Return the share of an epoch's audio that each group is given ``(G,)``; together 1.

    Args:
        samples: Audio of each group, at least one sample ``(G,)``.
        corpora: Corpus of each group, as a number from 0 ``(G,)``.
        alpha: Exponent, from 0 (all alike) to 1 (by their amount).

    Raises:
        ConfigError: If ``alpha`` is outside [0, 1].
    """
    check_alpha(alpha, "languages")
    within = samples.astype(np.float64) ** alpha
    within /= np.bincount(corpora, within)[corpora]
    totals = np.bincount(corpora, samples.astype(np.float64))
    between = np.where(totals > 0, totals**alpha, 0.0)
    shares: npt.NDArray[np.float64] = within * (between / between.sum())[corpora]
    return shares


def draw_recordings(
    groups: npt.NDArray[np.integer], corpora: Numbers, samples: Numbers, alpha: float, generator: np.random.Generator
) -> Numbers:
    """Draw how often each recording is seen in one epoch, which has about as much audio as there is.

    Args:
        groups: Group of each recording, as a number from 0 ``(N,)``; none is empty.
        corpora: Corpus of each group ``(G,)``.
        samples: Length of each recording ``(N,)``.
        alpha: As for :func:`audio_shares`.
        generator: Source of chance.

    Returns:
        Counts ``(N,)``; within a group they differ by one at most, and no group is left out.
    """
    amounts = np.bincount(groups, samples.astype(np.float64))
    shares = audio_shares(amounts.astype(np.int64), corpora, alpha)
    lengths = amounts / np.bincount(groups)
    places = np.maximum(np.rint(shares * amounts.sum() / lengths), 1).astype(np.int64)
    return spread_places(groups, places, generator)
