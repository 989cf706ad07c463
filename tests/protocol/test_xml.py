import json
import subprocess
import sys
import traceback
import types
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree
from trees import document_of, tree_of

from sts_async._protocol.xml import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_MARKUP,
    XMLRefused,
    local_name,
    parse,
)
from sts_async._shape.secret import SecretBytes

SPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
SENTINEL = "SENTINEL-c3a1"
CAP = 1 << 20  # bytes that the transport reads at most


def parsed(text: str | bytes) -> tuple[str, str, Any]:
    space, root = parse(SecretBytes(text.encode() if isinstance(text, str) else text))
    return space, local_name(root), tree_of(root)


def refusal(text: str | bytes) -> str:
    with pytest.raises(XMLRefused) as caught:
        parsed(text)
    return str(caught.value)


# What a document becomes


def test_a_document_becomes_text_and_dicts_by_local_name() -> None:
    """The name space is that of the root; what repeats is a list, so that a reader of one element finds no text."""
    document = f'<R xmlns="{SPACE}"><A>1</A><B><C/><C>2</C><C> 3 </C></B><D a="x"></D></R>'

    assert parsed(document) == (SPACE, "R", {"A": "1", "B": {"C": ["", "2", " 3 "]}, "D": ""})
    assert parsed("<R/>") == ("", "R", "")
    assert parsed('<?xml version="1.0" encoding="UTF-8"?>\n<R>\n</R>\n') == ("", "R", "\n")


def test_a_prefix_is_as_good_as_a_default_name_space() -> None:
    """T12: names are compared as the pairs that they are."""
    assert parsed(f'<s:R xmlns:s="{SPACE}"><s:A>1</s:A></s:R>') == (SPACE, "R", {"A": "1"})


def test_children_of_another_name_space_are_left_out() -> None:
    """T12: somebody else's Credentials are not the service's."""
    document = f'<R xmlns="{SPACE}"><x:A xmlns:x="urn:x">1</x:A><A>2</A><A xmlns="{SPACE}x">4</A></R>'

    assert parsed(document)[2] == {"A": "2"}
    assert parsed('<R><A>1</A><A xmlns="urn:x">2</A></R>')[2] == {"A": "1"}
    assert parsed(f'<R xmlns="none"><A xmlns="{SPACE}">1</A><A xmlns="urn:x">2</A></R>')[2] == {"A": "1"}


def test_children_in_no_name_space_are_as_good_as_those_of_the_root() -> None:
    """B5: some servers put a prefix on the root alone. Two elements with one name are two, whatever their prefixes."""
    assert parsed('<p:R xmlns:p="none"><A><B>1</B></A></p:R>') == ("none", "R", {"A": {"B": "1"}})
    assert parsed(f'<R xmlns="{SPACE}"><A>1</A><A xmlns="">2</A></R>')[2] == {"A": ["1", "2"]}
    assert parsed(f'<R><A xmlns="{SPACE}">1</A><A>2</A></R>')[2] == {"A": ["1", "2"]}


@pytest.mark.parametrize("before", ["", "\n", " \n\t"])
@pytest.mark.parametrize("after", ["", "\r\n ", " "])
@pytest.mark.parametrize("prefix", ["", ":p"])
def test_space_around_a_name_space_is_none_of_it(before: str, after: str, prefix: str) -> None:
    """B5: the parser alone refuses the whole document for it."""
    root = f"{prefix[1:]}:R" if prefix else "R"
    document = f"<?xml version='1.0'?>\n<{root} xmlns{prefix} = '{before}{SPACE}{after}'><A> xmlns=' a ' </A></{root}>"

    assert parsed(document) == (SPACE, "R", {"A": " xmlns=' a ' "})


@pytest.mark.parametrize(
    "split",
    [
        *("a<!--x-->dmin", "a<?x y?>dmin", "<![CDATA[a]]>dmin", "a<![CDATA[dmin]]>", "&#97;dmin"),
        *("<!----><![CDATA[admin]]>", "a<!--x--><?y?><!--z-->dmin", "<!--x-->admin<!--y-->"),
    ],
)
def test_a_value_is_read_whole(split: str) -> None:
    """T13: half of it would be the name of another role."""
    assert parsed(f"<R><Arn>role/{split}</Arn></R>")[2] == {"Arn": "role/admin"}


@pytest.mark.parametrize("split", ["a<b/>dmin", "a<x:b xmlns:x='urn:x'/>dmin", "<b>a</b>dmin"])
def test_a_value_with_elements_in_it_is_no_text(split: str) -> None:
    """T13: the part before the element would pass for the value."""
    tree = parsed(f"<R><Arn>role/{split}</Arn></R>")[2]

    assert not isinstance(tree["Arn"], str)


NAMES = st.sampled_from(["A", "B", "member", "Key"])
LEGAL = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]) | st.sampled_from("\t\n\r\x85"))
TREES: st.SearchStrategy[Any] = st.recursive(
    LEGAL, lambda inner: st.dictionaries(NAMES, inner | st.lists(inner, min_size=2, max_size=3), min_size=1)
)


@given(TREES, st.sampled_from(["UTF-8", "US-ASCII"]))
def test_any_tree_is_read_as_it_was_written(tree: Any, encoding: str) -> None:
    """In UTF-8, of which ASCII is a part."""
    assert parsed(document_of(tree, encoding=encoding, xml_declaration=True)) == (SPACE, "R", tree)


# What is refused


ENTITY = "&l{};"
LONG = "x" * 50_000
REPEATED = "&a;" * 20_000


def laughs(levels: int) -> str:
    entities = "".join(f"<!ENTITY l{i + 1} '{10 * ENTITY.format(i)}'>" for i in range(levels))
    return f'<!DOCTYPE R [<!ENTITY l0 "ha">{entities}]>'


DOCTYPES = {
    "file": f'<!DOCTYPE R [<!ENTITY x SYSTEM "file:///etc/hostname">]><R><A>{SENTINEL}&x;</A></R>',
    "external DTD": f'<!DOCTYPE R SYSTEM "http://127.0.0.1:9/x.dtd"><R>{SENTINEL}</R>',
    "public DTD": f'<!DOCTYPE R PUBLIC "-//X" "http://127.0.0.1:9/x.dtd"><R>{SENTINEL}</R>',
    "parameter entity": '<!DOCTYPE R [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x">%p;]><R/>',
    "parameter file": '<!DOCTYPE R [<!ENTITY % p SYSTEM "file:///etc/hostname">%p;]><R/>',
    "unused": f"<!DOCTYPE R><R>{SENTINEL}</R>",
    "internal": f'<!DOCTYPE R [<!ENTITY a "{SENTINEL}">]><R><A>&a;</A></R>',
    "billion laughs": f"{laughs(9)}<R>&l9;</R>",
    "laughs in an attribute": f'{laughs(9)}<R a="&l9;"/>',
    "quadratic": f"<!DOCTYPE R [<!ENTITY a '{LONG}'>]><R>{REPEATED}</R>",
    "quadratic in an attribute": f"<!DOCTYPE R [<!ENTITY a '{LONG}'>]><R a='{REPEATED}'/>",
    "default attribute": f'<!DOCTYPE R [<!ATTLIST R a CDATA "{SENTINEL}">]><R/>',
    "xinclude": '<!DOCTYPE R><R xmlns:i="http://www.w3.org/2001/XInclude"><i:include href="file:///etc/hostname"/></R>',
    "recursive": '<!DOCTYPE R [<!ENTITY a "&b;"><!ENTITY b "&a;">]><R>&a;</R>',
}
LARGE = {
    "deep": "<R>" * 200 + "</R>" * 200,
    "deeper": "<R>" * 100_000,
    "deep and well-formed": "<R>" * 100_000 + "</R>" * 100_000,
    "wide": f"<R>{'<a/>' * (CAP // 4 - 10)}</R>",
    "wide and deep": f"<R>{('<a>' * 60 + '</a>' * 60) * 2400}</R>",
    "attributes": "<R " + " ".join(f'a{i}=""' for i in range(100_000)),
    "name spaces": "<R>" + "<a xmlns='urn:x'/>" * 50_000 + "</R>",
    "long text": f"<R>{'x' * (CAP - 10)}",
    "long name": f"<{'R' * CAP}/>",
}
HOSTILE = DOCTYPES | LARGE


@pytest.mark.parametrize("document", DOCTYPES.values(), ids=DOCTYPES.keys())
def test_any_document_type_is_refused(document: str) -> None:
    """T8: the parser alone would accept some of these, with the entity silently absent."""
    assert refusal(document.partition("<R")[0][:MAX_BYTES]) == "XML with a DOCTYPE"
    assert refusal(document).startswith("XML ")


ATTLIST = b"<!DOCTYPE r [<!ATTLIST r " + b" ".join(b"a%d ID #IMPLIED" % i for i in range(3000)) + b">]><r/>"
BEFORE = [
    *(b"", b"\n \r\n\t", b"<?xml version='1.0'?>", b"\xef\xbb\xbf", b"\xef\xbb\xbf<?xml version='1.0'?>\n"),
    *(
        b"<!-- <r> -->",
        b"<!-- <r a='",
        b"<?a <r> ?>",
        b"<?",
        b"<? ?>",
        b"<!-->",
        b"<!--",
        b"<!-- -- -->",
        b"<?xml?><?xml?>",
    ),
    *(b"<!---->" * 500, b"<?a?>\n<!-- ?> --><?b --> ?>", b"<?xml version='1.0' standalone='yes'?>"),
]


@pytest.mark.parametrize("before", BEFORE, ids=ascii)
@pytest.mark.parametrize("after", [b"", b"<!-- ?> -->", b"?>", b"-->", b"'/>"], ids=ascii)
def test_no_document_type_reaches_the_parser(before: bytes, after: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """G2: one of 1 MiB halts the parser for 17 s. Whatever the parser makes of what comes before it."""
    monkeypatch.setattr("sts_async._protocol.xml.etree.fromstring", None)

    with pytest.raises(XMLRefused, match=r"^(XML with a DOCTYPE|not well-formed XML)$"):
        parse(SecretBytes(before + ATTLIST + after))


@settings(max_examples=500)
@given(
    st.lists(
        st.sampled_from(
            [
                *(
                    b"<!DOCTYPE r [<!ATTLIST r a CDATA 'x'>]>",
                    b"xml version='1.0'",
                    b"\xef\xbb\xbf",
                    b"<![CDATA[",
                    b"]]>",
                ),
                *(b"<?", b"?>", b"<!--", b"-->", b"<r>", b"</r>", b"<r/>", b" ", b"a", b"'", b'"', b">", b"-", b"<"),
            ]
        ),
        max_size=12,
    ).map(b"".join)
)
def test_whatever_the_parser_is_given_has_no_document_type(document: bytes) -> None:
    """G2, T8: the parser is the oracle for what a document type is."""
    given_to_parser = []

    def recorded(text: bytes, parser: Any) -> Any:
        root = etree.fromstring(text, parser)
        given_to_parser.append(root.getroottree().docinfo.doctype)
        return root

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "sts_async._protocol.xml.etree",
            types.SimpleNamespace(fromstring=recorded, XMLSyntaxError=etree.XMLSyntaxError),
        )
        try:
            parse(SecretBytes(document))
        except XMLRefused:
            pass

    assert [doctype for doctype in given_to_parser if doctype] == []


def test_text_that_looks_like_a_document_type_is_text() -> None:
    """G2: a server may quote a page in its message."""
    assert parsed("<R><A><![CDATA[<!DOCTYPE html>]]></A></R>")[2] == {"A": "<!DOCTYPE html>"}
    assert parsed("<R><!-- <!DOCTYPE html> --><A>&lt;!DOCTYPE r></A></R>")[2] == {"A": "<!DOCTYPE r>"}


ENCODED = {
    **{
        name: "<?xml version='1.0'?><R/>".encode(name)
        for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp037")
    },
    **{
        f"{name}, no declaration": "<R/>".encode(name)
        for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
    },
    **{
        name: f"<?xml version='1.0' encoding='{name}'?><R/>".encode()
        for name in ("ISO-8859-1", "UTF-16", "UTF-7", "no-such", "")
    },
    "with a mark": b"\xef\xbb\xbf<?xml version='1.0' encoding='windows-1252'?><R/>",
    "double quotes": b'<?xml\n version="1.0"\n\tencoding = "latin1"\nstandalone="yes" ?><R/>',
    "no version": b'<?xml encoding="latin1"?><R/>',
    "far away": b"<?xml version='1.0'" + b" " * 9999 + b"encoding='latin1'?><R/>",
}


@pytest.mark.parametrize("document", ENCODED.values(), ids=ENCODED)
def test_any_encoding_but_utf_8_is_refused_before_it_is_parsed(
    document: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G2: what is counted in bytes counts for nothing in another encoding. For good: the next answer has it, too."""
    monkeypatch.setattr("sts_async._protocol.xml.etree.fromstring", None)

    with pytest.raises(XMLRefused, match=r"^XML in another encoding than UTF-8$") as caught:
        parse(SecretBytes(document))
    assert caught.value.final


@pytest.mark.parametrize("name", ["UTF-8", "utf-8", "utf8", "US-ASCII", "ascii"])
def test_utf_8_may_be_declared_or_marked(name: str) -> None:
    """G2: as nearly every server does."""
    for document in (
        f"<?xml version='1.0' encoding='{name}'?><R>\xe9</R>",
        "<R>\xe9</R>",
        "\n<!-- encoding='x' --><R>\xe9</R>",
    ):
        assert parsed(document) == ("", "R", "\xe9")
        assert document[0] == "\n" or parsed(document.encode("utf-8-sig")) == ("", "R", "\xe9")


def test_memory_for_names_is_bounded() -> None:
    """G2, F61: the parser never forgets a name, so that markup is counted. What is text, however long, is not."""
    names = "".join(f"<{'a' * 300}{number}/>" for number in range(300))
    attributes = " ".join(f"a{number}='>'" for number in range(9000))
    for document in (f"<R>{names}</R>", f"<R {attributes}/>", f"<R>{'x' * 65_000}<{'y' * 65_600}/></R>"):
        assert refusal(document) == f"XML with more than {MAX_MARKUP} bytes of markup"
    long = "\"quoted\", 'a' = b > c; " * 9000
    assert parsed(f"<R><A a='>'>{long}</A></R>")[2] == {"A": long}


@pytest.mark.parametrize("document", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_document_is_refused(document: str) -> None:
    """T9: within what the transport lets through."""
    with pytest.raises(XMLRefused):
        parse(SecretBytes(document.encode()[:CAP]))


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("<R>" + "<a/>" * 250_000 + "</R>", f"{MAX_BYTES} bytes"),
        ("<R>" + "<a/>" * 9_999 + "</R>", f"{MAX_ELEMENTS} elements"),
        ("<R>" + "<!---->" * 9_999 + "</R>", f"{MAX_ELEMENTS} elements"),
        ("<R " + "a='' " * 40_000 + "/>", f"{MAX_MARKUP} bytes of markup"),
        ("<R a='" + "x" * 100_000 + "'/>", f"{MAX_MARKUP} bytes of markup"),
    ],
    ids=["large", "wide", "comments", "attributes", "long attribute"],
)
def test_a_wide_document_is_refused_before_anything_is_built_of_it(
    document: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T9, G2: counting is what bounds the time."""
    monkeypatch.setattr("sts_async._protocol.xml.etree.fromstring", None)

    with pytest.raises(XMLRefused, match=f"more than {reason}"):
        parse(SecretBytes(document.encode()[:CAP]))


MEASURE = """
import json, resource, sys
from sts_async._shape.secret import SecretBytes
from sts_async._protocol.xml import XMLRefused, local_name, parse

documents = json.load(sys.stdin)
touched = []
refused = 0
sys.addaudithook(lambda event, arguments: touched.append(event) if event.startswith(("open", "socket.")) else None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for document in documents:
    try:
        parse(SecretBytes(document.encode()))
    except XMLRefused:
        refused += 1
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([refused, touched, after - before]))
"""


def test_hostile_documents_open_nothing() -> None:
    """T8, T9: no file, no connection, and memory in proportion to the cap, in a process that reports all of it."""
    documents = [document[:CAP] for document in HOSTILE.values()]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], input=json.dumps(documents), capture_output=True, text=True, check=True
    )
    refused, touched, kilobytes = json.loads(done.stdout)

    assert refused == len(documents)
    assert touched == []
    assert kilobytes < 16 * CAP // 1024


def test_no_library_call_opens_a_file_that_the_document_names(tmp_path: Any) -> None:
    """T8: libxml2 opens files itself, where no audit hook of Python sees it; what it read would show."""
    secret = tmp_path / "secret.txt"
    secret.write_text(SENTINEL)
    for document in (
        f'<!DOCTYPE R [<!ENTITY x SYSTEM "{secret.as_uri()}">]><R><A>&x;</A></R>',
        f'<R xmlns:i="http://www.w3.org/2001/XInclude"><i:include parse="text" href="{secret.as_uri()}"/></R>',
        f'<?xml-stylesheet href="{secret.as_uri()}"?><R/>',
        f'<R xmlns:s="http://www.w3.org/2001/XMLSchema-instance" s:schemaLocation="urn:x {secret.as_uri()}"/>',
    ):
        try:
            seen = repr(parsed(document))
        except XMLRefused as refused:
            seen = repr(refused)
        assert SENTINEL not in seen


@pytest.mark.parametrize("depth", [1, 2, MAX_DEPTH, MAX_DEPTH + 1, MAX_DEPTH + 2, MAX_DEPTH + 9])
def test_a_document_is_at_most_so_deep(depth: int) -> None:
    """T9: answers of STS have a depth of 5."""
    document = "<R>" * depth + "</R>" * depth
    if depth <= MAX_DEPTH + 1:
        parsed(document)
    else:
        assert refusal(document) == "XML deeper than 64 elements"


@pytest.mark.parametrize("name", ["a", "a" * 40], ids=len)
def test_a_document_has_at_most_so_many_elements(name: str) -> None:
    """T9: however short or long their names are, elements of other name spaces included."""
    most = f"<R>{f'<{name}/>' * (MAX_ELEMENTS - 1)}</R>"
    more = most.replace("</R>", "<x xmlns='urn:x'/></R>")

    assert len(parsed(most)[2][name]) == MAX_ELEMENTS - 1
    assert refusal(more) == "XML of more than 1000 elements"


@pytest.mark.parametrize(
    "document",
    [
        "",
        " ",
        "x",
        "{}",
        "null",
        "<",
        "<R",
        "<R>",
        "<R></S>",
        "<R/><R/>",
        "<R>&x;</R>",
        "<R>\0</R>",
        "<R>\x01</R>",
        "<R>\ufffe</R>",
        "<R a=1/>",
        "<R a='' a=''/>",
        "<x:R/>",
        "<R xmlns=' none '><A></R>",
        "<R><!--</R>",
        "<R><![CDATA[</R>",
        " <?xml version='1.0'?><R/>",
        b"<R>\xff</R>",
        b"\x1f\x8b\x08\x00",
        b"\x00" * 99,
    ],
    ids=ascii,
)
def test_what_is_not_well_formed_is_refused(document: str | bytes) -> None:
    """F5, F6, F10: nothing is repaired or guessed."""
    assert refusal(document) == "not well-formed XML"


@settings(max_examples=300)
@given(st.binary() | st.text("<>/R ?!-[]&;'=\"xa", max_size=30).map(str.encode))
@example(b"<R xmlns='urn:\xc3\xa9'>a</R>")
def test_any_bytes_are_read_or_refused(document: bytes) -> None:
    """No other exception can come out, whatever comes in."""
    try:
        space, name, tree = parsed(document)
    except XMLRefused:
        return
    assert isinstance(space, str)
    assert name
    assert isinstance(tree, str | dict)


@pytest.mark.parametrize(
    "document",
    [f"<R>{SENTINEL}", f"<R><{SENTINEL}></R>", f"<R>&{SENTINEL};</R>", *DOCTYPES.values(), f"<{SENTINEL}" * 300],
    ids=lambda document: document[:30],
)
def test_a_refusal_quotes_nothing_of_the_document(document: str) -> None:
    """T15, T16: the parser's own message does, and its frames hold the document."""
    body = SecretBytes(document.encode())
    with pytest.raises(XMLRefused) as caught:
        parse(body)

    below = caught.tb.tb_next
    shown = "".join(traceback.TracebackException(caught.type, caught.value, below, capture_locals=True).format())
    assert caught.value.__context__ is None
    assert "document =" in shown
    assert SENTINEL not in shown
