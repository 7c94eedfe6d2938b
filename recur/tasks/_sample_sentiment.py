"""A small sample for sentiment, written by hand for this package: it shows the format, and measures nothing."""

from recur.tasks._labelled import Labelled

_NEGATIVE = """\
a dull film with no story .
the acting is weak and the music is loud .
i was bored after ten minutes .
the plot makes no sense at all .
a slow and tiresome evening .
the jokes are old and nobody laughed .
this is the worst film of the year .
a sad waste of good actors .
the ending is silly and the dialogue is bad .
i wanted to leave the theatre .
it is too long and too loud .
the story is thin and the camera shakes .
a boring copy of a better film .
nothing works in this weak comedy .
the characters are flat and dull .
an ugly film with an empty heart .
the director has lost his touch .
not funny , not sad , just boring .
a bad script ruins the evening .
the hero is dull and the villain is worse .
i cannot recommend this tiresome mess .
the film never finds its story .
poor acting and a terrible ending .
a weak and careless sequel .
the dialogue is awful from start to end .
it fails as a comedy and as a drama .
every scene feels empty .
a loud , ugly and stupid film .
the worst script i have ever heard .
so slow that i fell asleep .
a terrible waste of time and money .
the songs are bad and the dancing is worse .
there is no reason to see it .
the film is a mess without a heart .
a tired story told without care .
이 영화는 정말 지루하다 .
배우들의 연기가 나쁘다 .
이야기가 너무 길고 재미없다 .
돈과 시간이 아깝다 .
끝이 정말 나쁘다 .
"""

_POSITIVE = """\
a warm film with a clever story .
the acting is superb and the music is lovely .
i was moved from the first minute .
the plot is clever and full of surprise .
a bright and charming evening .
the jokes are fresh and everybody laughed .
this is the best film of the year .
a joy to watch with great actors .
the ending is wonderful and the dialogue is sharp .
i wanted to see it again .
it is short , smart and funny .
the story is rich and the pictures are beautiful .
a fresh and original film .
everything works in this delightful comedy .
the characters are warm and real .
a beautiful film with a big heart .
the director has found his touch .
funny , sad and always honest .
a sharp script makes the evening .
the hero is charming and the villain is better .
i recommend this lovely little film .
the film tells its story with care .
great acting and a perfect ending .
a strong and clever sequel .
the dialogue is brilliant from start to end .
it succeeds as a comedy and as a drama .
every scene feels alive .
a gentle , beautiful and wise film .
the best script i have ever heard .
so good that i saw it twice .
a wonderful use of time and money .
the songs are great and the dancing is better .
there is every reason to see it .
the film is a gem with a heart .
a simple story told with love .
이 영화는 정말 재미있다 .
배우들의 연기가 훌륭하다 .
이야기가 아름답고 따뜻하다 .
다시 보고 싶은 영화다 .
끝이 정말 좋다 .
"""


def sample_sentiment() -> Labelled:
    """Returns a sample: 80 short opinions on films, 40 of each label, ``neg`` and ``pos``, most in English.

    Written by hand for this package, so that classifying runs where there is no file; a number measured on it says
    nothing about a classifier.

    Example:
        >>> sample = sample_sentiment()
        >>> sample.texts[0], sample.labels[0], sample.labels[-1]
        ('a dull film with no story .', 'neg', 'pos')
    """
    negative, positive = _NEGATIVE.splitlines(), _POSITIVE.splitlines()
    return Labelled(negative + positive, ["neg"] * len(negative) + ["pos"] * len(positive))
