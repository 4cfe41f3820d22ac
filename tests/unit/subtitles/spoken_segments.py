"""Random speech in eight scripts, with the times of its words."""

from random import Random

from hypothesis import strategies as st

from st.inference.long.segments import Segment, Word

LEXICON = {
    "en": "a the I house in and because however extraordinarily don't Anna New York, (yes) 10 000 3,5 % 2024. so? well! …",
    "de": "der das Haus und weil Donaudampfschifffahrtsgesellschaft Frau Müller am 3. Mai, 5 km? ja! „gut“ –",
    "ru": "и в дом потому что необыкновенный Анна Каренина, 1 000 рублей. да? нет!",
    "ar": "في من البيت المدرسة، ثم محمد 25 كتاب؟ نعم. والاستقلالية",
    "hi": "और एक घर क्योंकि भारत में, विश्वविद्यालय ५० क्षत्रिय। हाँ? नहीं!",
    "zh": "我们 在 北京大学 学习 了。 因为 2024年 三百五十 约翰·史密斯 iPhone 15 ，但是 吗？ 的",
    "ja": "私 は 東京タワー へ 行きました。 レオナルド・ダ・ヴィンチ 、しかし 「はい」 三百 15歳 きょう。",
    "ko": "오늘은 서울에서 친구를 만났습니다. 그리고 김철수 15 명, 왜? 좋아!",
    "th": "สวัสดี ครับ วันนี้ เรา จะ พูดถึง เทคโนโลยี ใหม่ๆ 25 บาท",
}
UNSPACED = ("zh", "ja", "th")


def text_of(dice: Random, language: str) -> str:
    words = dice.choices(LEXICON[language].split(), k=dice.randint(1, 40))
    if language not in UNSPACED:
        return " ".join(words)
    return "".join(word + dice.choice(["", "", "", "", " "]) for word in words).strip()


def timed_words(dice: Random, text: str, start: float, end: float) -> tuple[Word, ...]:
    """Times of the words of a text, in order, within a span, with pauses here and there."""
    tokens = text.split() if dice.random() < 0.5 else list("".join(text.split()))
    weights = [(dice.choice([0, 0, 0, 1, 8]), max(1, len(token)) * dice.randint(1, 3)) for token in tokens]
    second = (end - start) / (sum(map(sum, weights)) + 1)
    words, now = [], start
    for token, (pause, weight) in zip(tokens, weights, strict=True):
        now += pause * second
        words.append(Word(now, now + weight * second, token))
        now += weight * second
    return tuple(words)


def segments_of(dice: Random, language: str, target: str | None = None) -> list[Segment]:
    """Segments in order, that may touch or overlap; some without words, some without a text."""
    found, now = [], dice.uniform(0, 3)
    for _ in range(dice.randint(1, 5)):
        text = text_of(dice, language) if dice.random() < 0.85 else ""
        end = now + max(0.05, len(text) / dice.choice([4, 10, 16, 30]))
        words = timed_words(dice, text, now, end) if dice.random() < 0.6 else ()
        translations = {target: text_of(dice, target)} if target and dice.random() < 0.8 else {}
        speaker = dice.choice([None, None, "Anna", "Dr. Bob <x>"])
        found.append(Segment(now, end, text, words, translations, {}, speaker, language))
        now = max(0.0, end + dice.choice([0.0, 0.04, 0.3, 2.0, 5.0, -0.5]))
    return found


dice = st.integers(0, 2**32).map(Random)
"""Draws by hypothesis would take longer than what is tested."""
