"""``--user-dir`` of the filter-bank baseline: what stock fairseq's ``speech_to_text`` needs on today's torch, no more.

Its checkpoints hold their settings as ``argparse.Namespace``, which torch's reader refuses by default.
"""

from __future__ import annotations

import argparse

import torch

torch.serialization.add_safe_globals([argparse.Namespace])
