"""Generated names for sessions whose owner gave none: "calm-otter"."""

from __future__ import annotations

# Easy to pronounce, spell and distinguish; no combination is offensive.
ADJECTIVES = """
    amber azure bold brave breezy bright brisk calm cheery clear clever copper cosy crisp dapper daring
    eager early fair fleet fond gentle glad golden grand happy hardy hazel honest humble ivory jolly
    keen kind lively lucid lucky mellow merry mild misty neat nimble noble opal polite proud quick
    quiet rapid ready rosy royal ruby rustic sage serene silent silver sleek snug solid spry steady
    still sunny sure swift tidy tranquil trusty vivid warm wise witty zesty
    """.split()  # noqa: SIM905 — a list of quoted words is harder to read
NOUNS = """
    acorn alder aspen badger beacon beaver birch bison brook canyon cedar cliff clover comet condor coral
    cove crane cricket curlew dolphin dune egret elm falcon fern finch fjord forest fox geyser glade
    grove gull harbor hare hawk heron hill holly ibis island jay juniper kestrel kite lagoon lake
    lark linden lotus lynx maple marten meadow moon moss newt oak orca orchid osprey otter owl
    panda pebble pine plover pond poplar puffin quail raven reef river robin rowan seal sparrow spruce
    stork swan thistle tulip valley walrus willow wren
    """.split()  # noqa: SIM905 — a list of quoted words is harder to read
COUNT = len(ADJECTIVES) * len(NOUNS)


def pleasant_name(number: int) -> str:
    """The name for a number, modulo COUNT."""
    adjective, noun = divmod(number % COUNT, len(NOUNS))
    return f"{ADJECTIVES[adjective]}-{NOUNS[noun]}"
