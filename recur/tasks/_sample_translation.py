"""A small sample for translation, written by hand for this package: it shows the format, and measures nothing."""

from recur.tasks._pairs import Pairs

_GERMAN_ENGLISH = """\
Der Hund schläft .|The dog sleeps .
Die Katze schläft .|The cat sleeps .
Das Kind schläft .|The child sleeps .
Der Hund läuft .|The dog runs .
Das Kind läuft .|The child runs .
Der Mann läuft schnell .|The man runs fast .
Die Frau läuft schnell .|The woman runs fast .
Ein Hund bellt .|A dog barks .
Ein Kind spielt .|A child plays .
Eine Frau singt .|A woman sings .
Ein Mann singt laut .|A man sings loudly .
Die Frau liest ein Buch .|The woman reads a book .
Der Mann liest ein Buch .|The man reads a book .
Das Kind liest das Buch .|The child reads the book .
Der Mann trinkt Wasser .|The man drinks water .
Die Katze trinkt Milch .|The cat drinks milk .
Das Kind trinkt Milch .|The child drinks milk .
Die Frau isst einen Apfel .|The woman eats an apple .
Das Kind isst einen Apfel .|The child eats an apple .
Der Mann isst Brot .|The man eats bread .
Ich sehe den Hund .|I see the dog .
Ich sehe die Katze .|I see the cat .
Ich sehe das Haus .|I see the house .
Wir sehen den Mann .|We see the man .
Wir sehen die Frau .|We see the woman .
Wir lesen ein Buch .|We read a book .
Ich lese ein Buch .|I read a book .
Ich trinke Wasser .|I drink water .
Wir trinken Milch .|We drink milk .
Ich esse Brot .|I eat bread .
Das Haus ist alt .|The house is old .
Das Haus ist klein .|The house is small .
Der Hund ist klein .|The dog is small .
Der Hund ist müde .|The dog is tired .
Die Katze ist müde .|The cat is tired .
Das Buch ist alt .|The book is old .
Das Wasser ist kalt .|The water is cold .
Die Milch ist kalt .|The milk is cold .
Der Apfel ist rot .|The apple is red .
Das rote Haus ist alt .|The red house is old .
Der kleine Hund schläft .|The small dog sleeps .
Die kleine Katze schläft .|The small cat sleeps .
Der alte Mann schläft .|The old man sleeps .
Die alte Frau liest .|The old woman reads .
Das kleine Kind spielt .|The small child plays .
Der Hund spielt im Garten .|The dog plays in the garden .
Das Kind spielt im Garten .|The child plays in the garden .
Die Katze schläft im Haus .|The cat sleeps in the house .
Der Mann arbeitet im Garten .|The man works in the garden .
Die Frau arbeitet im Haus .|The woman works in the house .
Heute lese ich ein Buch .|Today I read a book .
Heute trinken wir Milch .|Today we drink milk .
Heute arbeitet der Mann im Garten .|Today the man works in the garden .
Wo ist der Hund ?|Where is the dog ?
Wo ist die Katze ?|Where is the cat ?
Wo ist das Buch ?|Where is the book ?
Siehst du den Hund ?|Do you see the dog ?
Siehst du das Haus ?|Do you see the house ?
Der Hund bellt nicht .|The dog does not bark .
Das Kind schläft nicht .|The child does not sleep .
"""

_PARAGRAPH = """\
a network with a loop has something that a plain one lacks: it can remember. at every step it looks at what comes in \
and at what it knew a moment ago, and from both it makes up its mind anew. so the order of things begins to matter, \
and the end of a sentence can depend on how it began. but memory of this kind is fragile. each step changes it a \
little, and after many steps the trace of an early word may have faded to nothing, or grown until it drowns all the \
rest. the same is true backwards: when the network learns, the blame for an error travels from the last step to the \
first, and on its way it shrinks or swells by a factor at every step. gates were invented to keep that factor close to \
one. a gate that stays open carries the past along unchanged; a gate that shuts lets the network forget what it needs \
no more. this paragraph was written to be learned by heart, letter for letter, from the first word to the last one.\
"""


def sample_translation() -> Pairs:
    """Returns a sample: 60 short German sentences and their English translations, words parted by spaces.

    Written by hand for this package, so that translating runs where there is no file; a number measured on it says
    nothing about a translator.

    Example:
        >>> sample = sample_translation()
        >>> sample.sources[0], sample.targets[0]
        ('Der Hund schläft .', 'The dog sleeps .')
    """
    pairs = [line.split("|") for line in _GERMAN_ENGLISH.splitlines()]
    return Pairs([german for german, _ in pairs], [english for _, english in pairs])


def sample_paragraph() -> str:
    """Returns a paragraph to learn by heart: 930 small letters, spaces and stops, written for this package."""
    return _PARAGRAPH
