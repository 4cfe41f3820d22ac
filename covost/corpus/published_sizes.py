"""The published sizes of CoVoST 2: rows of train, dev and test of every direction."""

from __future__ import annotations

from st.text.languages import OUT_OF_ENGLISH

PUBLISHED_SIZES: dict[str, tuple[int, int, int]] = {
    "fr_en": (207_374, 14_760, 14_760),
    "de_en": (127_834, 13_511, 13_511),
    "es_en": (79_015, 13_221, 13_221),
    "ca_en": (95_854, 12_730, 12_730),
    "it_en": (31_698, 8_940, 8_951),
    "ru_en": (12_112, 6_110, 6_300),
    "zh-CN_en": (7_085, 4_843, 4_898),
    "pt_en": (9_158, 3_318, 4_023),
    "fa_en": (53_949, 3_445, 3_445),
    "et_en": (1_782, 1_576, 1_571),
    "mn_en": (2_067, 1_761, 1_759),
    "nl_en": (7_108, 1_699, 1_699),
    "tr_en": (3_966, 1_624, 1_629),
    "ar_en": (2_283, 1_758, 1_695),
    "sv-SE_en": (2_160, 1_349, 1_595),
    "lv_en": (2_337, 1_125, 1_629),
    "sl_en": (1_843, 509, 360),
    "ta_en": (1_358, 384, 786),
    "ja_en": (1_119, 635, 684),
    "id_en": (1_243, 792, 844),
    "cy_en": (1_241, 690, 690),
    # Every direction out of English translates the same recordings.
    **dict.fromkeys(OUT_OF_ENGLISH, (289_430, 15_531, 15_531)),
}
"""Direction to rows of train, dev and test, with CoVoST's Common Voice release complete."""
