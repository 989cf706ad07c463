"""How the shared files are read: the second group of lines."""

from collections.abc import Awaitable, Callable

from credentials.cases import Case, Fails, Keys, keys
from differences.lines import given, line

Compare = Callable[[Case], Awaitable[None]]


@line("a profile in both files")
@given("a pair over both files", "a token beside keys of the other file")
async def test_a_profile_in_both_files_is_merged_key_by_key(case: Case, compare: Compare) -> None:
    await compare(case)


@line("a comment behind a value")
@given("a comment after a value")
async def test_a_comment_behind_a_value_is_no_part_of_it(case: Case, compare: Compare) -> None:
    await compare(case)


@line("`[profile default]` before `[default]`")
@given("[profile default] and then [default]")
async def test_the_prefixed_default_profile_wins_wherever_it_stands(case: Case, compare: Compare) -> None:
    await compare(case)


@line("a byte order mark at the start of a file")
@given("a byte order mark")
async def test_a_byte_order_mark_is_skipped(case: Case, compare: Compare) -> None:
    await compare(case)


@line("a key, or a name, that goes on over a line break")
@given("a secret that goes on")
async def test_what_stands_on_one_line_must_not_go_on(case: Case, compare: Compare) -> None:
    await compare(case)


@line("white space inside the brackets of a section")
@given("blanks in the brackets")
async def test_white_space_inside_brackets_is_removed(case: Case, compare: Compare) -> None:
    await compare(case)


@line("a section or a key that stands twice in a file")
@given("a property twice", "a section twice")
async def test_what_stands_twice_is_merged(case: Case, compare: Compare) -> None:
    await compare(case)


@line("`key: value`")
@given("a colon in the place of the equals sign")
async def test_a_colon_is_no_equals_sign(case: Case, compare: Compare) -> None:
    await compare(case)


@line("an indented line right behind the line of a section")
@given("a property that is indented")
async def test_a_first_line_that_is_indented_is_an_error(case: Case, compare: Compare) -> None:
    await compare(case)


@line("`[DEFAULT]`")
@given("a section [DEFAULT]")
async def test_a_section_default_in_upper_case_is_not_for_all_profiles(case: Case, compare: Compare) -> None:
    await compare(case)


@line("a letter beyond ASCII in the name of a profile")
@given("a letter beyond ASCII in the name of a profile")
async def test_names_of_profiles_are_of_ascii(case: Case, compare: Compare) -> None:
    await compare(case)


@line("`$HOME` in `AWS_CONFIG_FILE` and `AWS_SHARED_CREDENTIALS_FILE`")
@given("a variable in AWS_CONFIG_FILE")
async def test_variables_in_paths_are_not_expanded(case: Case, compare: Compare) -> None:
    await compare(case)


@line("a file that is named and cannot be read")
@given("a directory in the place of a file")
async def test_a_named_file_that_cannot_be_read_is_an_error(case: Case, compare: Compare) -> None:
    await compare(case)


@line("a file of more than 1 MiB")
@given(
    Case(
        "a file of more than 1 MiB",
        Fails("InvalidConfigFile"),
        botocore=Keys("AKIAA"),
        config="# a comment\n" * 90_000 + f"[default]\n{keys('AKIAA')}",
    )
)
async def test_files_have_a_greatest_size(case: Case, compare: Compare) -> None:
    await compare(case)


@line("a profile that is missing or a file that is broken, and keys in the environment")
@given("a missing profile beside keys", "a broken file beside keys in the environment")
async def test_what_is_not_needed_breaks_nothing(case: Case, compare: Compare) -> None:
    await compare(case)


@line("a key with a value that it cannot have")
@given("a duration in words")
async def test_a_key_with_an_impossible_value_is_an_error(case: Case, compare: Compare) -> None:
    await compare(case)
