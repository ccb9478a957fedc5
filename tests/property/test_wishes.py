"""After a withdrawal nothing that did not cover the purpose changes: every other coverage is what it was."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from ledger.events import Purpose
from ledger.facts import Coverage
from ledger.policy import Policy, my_san_jose
from ledger.wishes import MAX_PURPOSES, Held, covers, remaining, standing, withdrawal

SAN_JOSE = my_san_jose()
UNKNOWN = "no-such-purpose"
CATEGORIES = ("email", "phone", "contact", "name", "photo", "no-such-category")
OPERATIONS = ("analyse", "profile", "share", "no-such-operation")
RECIPIENTS = (None, "acme", "globex")
NOW_US, SOON_US = 1_000, 2_000


def policy_of(parents: dict[str, str | None]) -> Policy:
    made = (Purpose(id=name, text="", parent=parent, categories=()) for name, parent in parents.items())
    return Policy(type(SAN_JOSE)(**{f: getattr(SAN_JOSE, f) for f in SAN_JOSE.__struct_fields__} | {
        "purposes": tuple(made), "consistent": ()
    }))  # fmt: skip


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """A tree of up to 9 purposes: each one's parent is one made before it, or none."""
    parents: dict[str, str | None] = {}
    for number in range(draw(st.integers(1, 9))):
        parents[f"p{number}"] = draw(st.sampled_from([None, *parents]))
    return policy_of(parents)


def some(items: tuple[str, ...], least: int = 1) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(items), min_size=least, max_size=4, unique=True).map(tuple)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Policy, list[Held], str]:
    policy = draw(policies())
    purposes = (*(p.id for p in policy.data.purposes), UNKNOWN)
    held = []
    for number in range(draw(st.integers(0, 5))):
        coverage = Coverage(
            draw(some(purposes)),
            draw(st.none() | some(CATEGORIES)),
            draw(st.none() | some(OPERATIONS)),
            draw(st.none() | some(("acme", "globex"))),
        )
        held.append(Held(f"c{number}", coverage, draw(st.none() | st.just(SOON_US)), number, 0))
    return policy, held, draw(st.sampled_from(purposes))


Point = tuple[str, str, str, str | None]


def covered(policy: Policy, coverages: list[tuple[Coverage, int | None]], now_us: int) -> set[Point]:
    """Every (purpose, category, operation, recipient) that some consent covers, by the judge's own rule."""
    purposes = (*(p.id for p in policy.data.purposes), UNKNOWN)
    return {
        (purpose, category, operation, recipient)
        for purpose, category, operation, recipient in product(purposes, CATEGORIES, OPERATIONS, RECIPIENTS)
        for coverage, expires in coverages
        if (expires is None or now_us < expires)
        and (recipient is None or recipient in (coverage.recipients or ()))
        and coverage.covers(policy, purpose, category, operation)
    }


@given(cases())
def test_a_withdrawal_changes_no_coverage_but_that_of_the_purpose_and_of_those_it_is_within(
    case: tuple[Policy, list[Held], str],
) -> None:
    policy, held, wish = case
    found = withdrawal(policy, held, wish)
    stay = [(h.coverage, h.expires) for h in held if h not in found.ends]
    for now_us in (NOW_US, SOON_US):  # before and after some have expired
        before = covered(policy, [(h.coverage, h.expires) for h in held], now_us)
        after = covered(policy, [*stay, *((a.coverage, a.expires) for a in found.again)], now_us)
        assert after <= before, "nothing is widened"
        assert not [point for point in after if policy.within_purpose(point[0], wish)], "the wish holds"
        lost = before - after
        assert all(
            policy.within_purpose(purpose, wish) or policy.within_purpose(wish, purpose) for purpose, *_ in lost
        ), "nothing else is lost"


@given(cases())
def test_a_consent_that_does_not_meet_the_purpose_is_let_be_and_a_second_withdrawal_finds_nothing(
    case: tuple[Policy, list[Held], str],
) -> None:
    policy, held, wish = case
    found = withdrawal(policy, held, wish)
    for one in held:
        meets = any(policy.within_purpose(q, wish) or policy.within_purpose(wish, q) for q in one.coverage.purposes)
        assert (one in found.ends) == meets
    after = [h for h in held if h not in found.ends]
    after += [Held(f"{a.of}+", a.coverage, a.expires, 99, 0) for a in found.again]
    assert withdrawal(policy, after, wish) == ((), ())
    assert all(a.coverage[1:] == h.coverage[1:] and a.expires == h.expires
               for a in found.again for h in held if h.consent_id == a.of)  # fmt: skip


@given(cases())
def test_a_wish_is_the_state_exactly_when_one_consent_covers_every_point_of_it_for_as_long(
    case: tuple[Policy, list[Held], str],
) -> None:
    policy, held, wish = case
    for other in held[:1]:
        wished = Coverage((wish,), other.coverage.categories, other.coverage.operations, other.coverage.recipients)
        found = standing(held, policy, wished, other.expires)
        if found is None:
            assert not any(
                covers(policy, h.coverage, wished) and (h.expires is None or h.expires == other.expires) for h in held
            )
        else:
            points = covered(policy, [(wished, None)], NOW_US)
            assert points <= covered(policy, [(found.coverage, None)], NOW_US)


def test_more_than_64_remaining_purposes_make_more_than_one_consent() -> None:
    parents: dict[str, str | None] = {"root": None, **{f"p{number}": "root" for number in range(70)}}
    policy = policy_of(parents)
    [first, second] = withdrawal(policy, [Held("c", Coverage(("root",), None, None, None), None, 0, 0)], "p3").again
    assert [len(first.coverage.purposes), len(second.coverage.purposes)] == [MAX_PURPOSES, 5]


def test_the_remaining_purposes_of_the_city_s_policy_are_the_siblings_at_every_level() -> None:
    policy = Policy(SAN_JOSE)
    left = remaining(policy, ("4.2",), "4.2/permit/inspection")
    assert "4.2/permit" not in left and "4.2" not in left and "4.2/junk-pickup" in left
    assert remaining(policy, ("4.2/permit",), "4.2") == ()
    assert remaining(policy, (UNKNOWN, "4.7"), "4.7") == (UNKNOWN,)
