"""A speech-translation corpus that can be made anywhere: sentences composed from CLDR, spoken by eSpeak NG.

The layout is exactly that of Common Voice 4.0 with CoVoST 2, so that the same code prepares it and the real thing.
"""
