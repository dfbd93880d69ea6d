"""The numbers of the edits: how far a variation goes, how many pictures blend, how strongly a picture counts.

Pure values that the bot's buttons and the worker agree on. Knows no model.
"""

#: `Request.strength` of a variation: the share of the steps that are taken anew, starting near the parent. 0 would be a
#: copy, 1 something new.
SUBTLE, USUAL, STRONG = 0.55, 0.6, 0.8
#: `Request.strength` of a region or of new canvas: anew from noise alone.
ANEW = 1.0
#: `Request.strength` of new canvas under the picture's own words, which shall not show their things once more.
ONWARD = 0.5
#: `Request.strength` of a creative upscale.
CREATIVE = 0.3

#: Pictures that one job may bring for the same role.
MOST_PICTURES = 5
FEWEST_BLENDED = 2

#: Factors of an upscale, and the pixels that a picture may have afterwards.
FACTORS = (2, 4)
MOST_PIXELS = 64 << 20

#: Wordings of a description.
WORDINGS = 4
