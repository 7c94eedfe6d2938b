"""A small sample for tagging, written by hand for this package: it shows the format, and measures nothing."""

from recur.tasks._conllu import Sentence

_ENGLISH = """\
The/DET dog/NOUN sleeps/VERB ./PUNCT
A/DET small/ADJ cat/NOUN drinks/VERB milk/NOUN ./PUNCT
She/PRON reads/VERB a/DET long/ADJ book/NOUN ./PUNCT
We/PRON saw/VERB the/DET old/ADJ house/NOUN yesterday/ADV ./PUNCT
Anna/PROPN lives/VERB in/ADP Berlin/PROPN ./PUNCT
He/PRON gave/VERB her/PRON two/NUM red/ADJ apples/NOUN ./PUNCT
Do/AUX you/PRON like/VERB green/ADJ tea/NOUN ?/PUNCT
They/PRON are/AUX playing/VERB in/ADP the/DET garden/NOUN ./PUNCT
The/DET children/NOUN have/AUX eaten/VERB all/DET the/DET bread/NOUN ./PUNCT
I/PRON will/AUX call/VERB you/PRON tomorrow/ADV ./PUNCT
My/PRON brother/NOUN works/VERB at/ADP a/DET school/NOUN in/ADP Seoul/PROPN ./PUNCT
The/DET red/ADJ car/NOUN is/AUX very/ADV fast/ADJ ./PUNCT
Birds/NOUN sing/VERB and/CCONJ dogs/NOUN bark/VERB ./PUNCT
He/PRON wants/VERB to/PART buy/VERB a/DET new/ADJ car/NOUN ./PUNCT
If/SCONJ it/PRON rains/VERB ,/PUNCT we/PRON stay/VERB at/ADP home/NOUN ./PUNCT
Oh/INTJ ,/PUNCT that/PRON is/AUX a/DET nice/ADJ song/NOUN !/PUNCT
Three/NUM men/NOUN walked/VERB slowly/ADV across/ADP the/DET old/ADJ bridge/NOUN ./PUNCT
The/DET book/NOUN on/ADP the/DET table/NOUN is/AUX mine/PRON ./PUNCT
Peter/PROPN and/CCONJ Anna/PROPN drink/VERB coffee/NOUN every/DET morning/NOUN ./PUNCT
She/PRON did/AUX not/PART see/VERB the/DET small/ADJ dog/NOUN ./PUNCT
Water/NOUN flows/VERB under/ADP the/DET bridge/NOUN ./PUNCT
The/DET teacher/NOUN asked/VERB a/DET hard/ADJ question/NOUN ./PUNCT
You/PRON can/AUX read/VERB this/DET book/NOUN today/ADV ./PUNCT
Because/SCONJ she/PRON was/AUX tired/ADJ ,/PUNCT she/PRON went/VERB home/ADV early/ADV ./PUNCT
The/DET price/NOUN is/AUX 20/NUM $/SYM ./PUNCT
He/PRON often/ADV sings/VERB an/DET old/ADJ song/NOUN in/ADP the/DET kitchen/NOUN ./PUNCT
Where/ADV is/AUX my/PRON green/ADJ coat/NOUN ?/PUNCT
The/DET new/ADJ school/NOUN has/VERB four/NUM large/ADJ rooms/NOUN ./PUNCT
They/PRON bought/VERB bread/NOUN ,/PUNCT milk/NOUN and/CCONJ apples/NOUN ./PUNCT
The/DET cat/NOUN that/PRON sleeps/VERB on/ADP the/DET table/NOUN is/AUX old/ADJ ./PUNCT
No/INTJ ,/PUNCT I/PRON have/AUX not/PART seen/VERB him/PRON today/ADV ./PUNCT
London/PROPN is/AUX larger/ADJ than/ADP Berlin/PROPN ./PUNCT
A/DET man/NOUN with/ADP a/DET long/ADJ coat/NOUN asked/VERB for/ADP water/NOUN ./PUNCT
We/PRON know/VERB that/SCONJ the/DET train/NOUN is/AUX late/ADJ ./PUNCT
Please/INTJ close/VERB the/DET door/NOUN ./PUNCT
The/DET fast/ADJ train/NOUN to/ADP London/PROPN leaves/VERB at/ADP nine/NUM ./PUNCT
My/PRON sister/NOUN is/AUX learning/VERB Korean/PROPN ./PUNCT
Every/DET bird/NOUN has/VERB two/NUM wings/NOUN ./PUNCT
He/PRON opened/VERB the/DET door/NOUN but/CCONJ saw/VERB nobody/PRON ./PUNCT
The/DET tired/ADJ children/NOUN went/VERB to/ADP bed/NOUN ./PUNCT
She/PRON must/AUX write/VERB a/DET letter/NOUN to/ADP Peter/PROPN ./PUNCT
It/PRON was/AUX a/DET cold/ADJ and/CCONJ dark/ADJ morning/NOUN ./PUNCT
When/ADV will/AUX the/DET teacher/NOUN call/VERB us/PRON ?/PUNCT
The/DET dog/NOUN barks/VERB because/SCONJ it/PRON saw/VERB a/DET cat/NOUN ./PUNCT
"""

_KOREAN = """\
나는/PRON 집에/NOUN 간다/VERB ./PUNCT
고양이가/NOUN 우유를/NOUN 마신다/VERB ./PUNCT
그는/PRON 긴/ADJ 책을/NOUN 읽는다/VERB ./PUNCT
우리는/PRON 어제/ADV 학교에/NOUN 갔다/VERB ./PUNCT
작은/ADJ 개가/NOUN 정원에서/NOUN 잔다/VERB ./PUNCT
서울은/PROPN 아주/ADV 크다/ADJ ./PUNCT
너는/PRON 사과를/NOUN 좋아하니/VERB ?/PUNCT
두/NUM 사람이/NOUN 천천히/ADV 걷는다/VERB ./PUNCT
나는/PRON 오늘/ADV 새/DET 책을/NOUN 샀다/VERB ./PUNCT
그리고/CCONJ 우리는/PRON 집에/NOUN 왔다/VERB ./PUNCT
선생님이/NOUN 어려운/ADJ 질문을/NOUN 했다/VERB ./PUNCT
이/DET 사과는/NOUN 아주/ADV 작다/ADJ ./PUNCT
개가/NOUN 빨리/ADV 달린다/VERB ./PUNCT
그는/PRON 서울에서/PROPN 일한다/VERB ./PUNCT
아/INTJ ,/PUNCT 비가/NOUN 온다/VERB !/PUNCT
나는/PRON 내일/ADV 너를/PRON 만난다/VERB ./PUNCT
"""


def sample_tagging() -> list[Sentence]:
    """Returns a sample: 60 short sentences with universal tags, 44 in English, then 16 in Korean.

    Written by hand for this package, so that tagging runs where there is no file. A tenth of it is 6 sentences: a
    number measured on them says nothing about a tagger.

    Example:
        >>> sample_tagging()[0]
        Sentence(words=('The', 'dog', 'sleeps', '.'), tags=('DET', 'NOUN', 'VERB', 'PUNCT'))
    """
    sentences = []
    for line in (_ENGLISH + _KOREAN).splitlines():
        pairs = [token.rsplit("/", 1) for token in line.split()]
        sentences.append(Sentence(tuple(word for word, _ in pairs), tuple(tag for _, tag in pairs)))
    return sentences
