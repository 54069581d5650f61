"""What the server refuses and supplies in schema `merge_utilities`."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, delete, insert, select, update

from monarch_dagster.models.merge_utilities import (
    GoldenRecord,
    IdCrosswalk,
    MatchCandidate,
    MatchRule,
    MergeDecision,
    SurvivorshipRule,
)
from monarch_dagster_tests.models.conftest import Refused

LEFT, RIGHT, THIRD = UUID(int=1), UUID(int=2), UUID(int=3)
COMPANY = UUID(int=9)
PAIR = {"entity": "person", "left_id": LEFT, "right_id": RIGHT}
SOURCE = {"entity": "person", "provider": "salesforce", "object_name": "Contact", "source_id": "003A"}


@pytest.fixture
def rule(connection: Connection) -> int:
    """An enabled rule for persons; three persons and an organisation stand in the golden records."""
    persons = [{"id": golden, "entity": "person"} for golden in (LEFT, RIGHT, THIRD)]
    connection.execute(insert(GoldenRecord), [*persons, {"id": COMPANY, "entity": "organisation"}])
    return new_rule(connection, is_enabled=True)


def new_rule(connection: Connection, **values: Any) -> int:
    row = {"entity": "person", "name": "same e-mail", "definition": {}, "propose_from": 0.8} | values
    return connection.scalars(insert(MatchRule).values(row).returning(MatchRule.id)).one()


def propose(connection: Connection, rule: int, **values: Any) -> int:
    row = PAIR | {"rule_id": rule, "score": 0.9} | values
    return connection.scalars(insert(MatchCandidate).values(row).returning(MatchCandidate.id)).one()


def decide(connection: Connection, **values: Any) -> int:
    row = PAIR | {"decision": "merge", "survivor_id": LEFT} | values
    return connection.scalars(insert(MergeDecision).values(row).returning(MergeDecision.id)).one()


def test_a_pair_is_stored_in_one_order_and_never_with_itself(
    connection: Connection, refused: Refused, rule: int
) -> None:
    propose(connection, rule)
    with refused("ck_match_candidate_pair_in_order"):
        propose(connection, rule, left_id=RIGHT, right_id=LEFT)
    with refused("ck_match_candidate_pair_in_order"):
        propose(connection, rule, left_id=LEFT, right_id=LEFT)


def test_python_and_the_server_order_ids_alike(connection: Connection, rule: int) -> None:
    ids = [UUID(int=n) for n in (2**127, 2**128 - 1, 2**64, 255, 256, 2**63)]
    connection.execute(insert(GoldenRecord), [{"id": golden, "entity": "animal"} for golden in ids])
    animals = select(GoldenRecord.id).where(GoldenRecord.entity == "animal").order_by(GoldenRecord.id)
    assert connection.scalars(animals).all() == sorted(ids)


def test_a_rule_proposes_a_pair_once_and_another_rule_may_propose_it_too(
    connection: Connection, refused: Refused, rule: int
) -> None:
    propose(connection, rule)
    with refused("uq_match_candidate_left_id_right_id_rule_id"):
        propose(connection, rule, score=1)
    propose(connection, new_rule(connection, name="same phone"))


def test_a_pair_and_its_rule_are_of_one_entity(connection: Connection, refused: Refused, rule: int) -> None:
    with refused("fk_match_candidate_entity_right_id_golden_record"):
        propose(connection, rule, right_id=COMPANY)
    with refused("fk_match_candidate_entity_rule_id_match_rule"):
        propose(connection, new_rule(connection, entity="organisation"))


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        pytest.param({"score": 1.1}, "ck_match_candidate_score", id="surer than sure"),
        pytest.param({"score": -0.1}, "ck_match_candidate_score", id="negative score"),
        pytest.param({"status": "perhaps"}, "ck_match_candidate_status", id="unknown status"),
        pytest.param({"evidence": []}, "ck_match_candidate_evidence_is_object", id="evidence that is a list"),
    ],
)
def test_a_proposal_that_makes_no_sense_is_refused(
    connection: Connection, refused: Refused, rule: int, values: dict[str, Any], constraint: str
) -> None:
    with refused(constraint):
        propose(connection, rule, **values)


def test_one_version_of_a_rule_is_enabled(connection: Connection, refused: Refused, rule: int) -> None:
    second = new_rule(connection, version=2)
    enable = update(MatchRule).where(MatchRule.id == second).values(is_enabled=True)
    with refused("ix_match_rule_one_enabled"):
        connection.execute(enable)
    connection.execute(update(MatchRule).where(MatchRule.id == rule).values(is_enabled=False))
    connection.execute(enable)
    with refused("uq_match_rule_entity_name_version"):
        new_rule(connection, version=2)


@pytest.mark.parametrize("thresholds", [(-0.1, None), (1.1, None), (0.8, 0.7), (0.8, 1.1)])
def test_thresholds_lie_between_0_and_1_and_in_order(
    connection: Connection, refused: Refused, thresholds: tuple[float, float | None]
) -> None:
    with refused("ck_match_rule_thresholds"):
        new_rule(connection, propose_from=thresholds[0], accept_from=thresholds[1])


def test_a_rule_that_has_proposed_pairs_cannot_vanish(connection: Connection, refused: Refused, rule: int) -> None:
    propose(connection, rule)
    with refused("fk_match_candidate_entity_rule_id_match_rule"):
        connection.execute(delete(MatchRule))


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        pytest.param({"survivor_id": None}, "ck_merge_decision_survivor_when_merged", id="a merge without a survivor"),
        pytest.param({"decision": "keep_apart"}, "ck_merge_decision_survivor_when_merged", id="one survivor of two"),
        pytest.param({"survivor_id": THIRD}, "ck_merge_decision_survivor_of_pair", id="a survivor from elsewhere"),
        pytest.param({"left_id": RIGHT, "right_id": LEFT}, "ck_merge_decision_pair_in_order", id="the other order"),
        pytest.param({"decision": "flip", "survivor_id": None}, "ck_merge_decision_decision", id="unknown decision"),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused(
    connection: Connection, refused: Refused, rule: int, values: dict[str, Any], constraint: str
) -> None:
    with refused(constraint):
        decide(connection, **values)


def test_a_decision_outlives_its_proposal_and_holds_its_golden_records(
    connection: Connection, refused: Refused, rule: int
) -> None:
    decide(connection, candidate_id=propose(connection, rule))
    connection.execute(delete(MatchCandidate))
    assert connection.scalars(select(MergeDecision.candidate_id)).all() == [None]
    with refused("fk_merge_decision_entity_left_id_golden_record"):
        connection.execute(delete(GoldenRecord).where(GoldenRecord.id == LEFT))


def test_a_source_record_stands_for_one_golden_record_of_an_entity(
    connection: Connection, refused: Refused, rule: int
) -> None:
    connection.execute(insert(IdCrosswalk).values(SOURCE | {"golden_id": LEFT}))
    with refused("pk_id_crosswalk"):
        connection.execute(insert(IdCrosswalk).values(SOURCE | {"golden_id": RIGHT}))
    with refused("fk_id_crosswalk_entity_golden_id_golden_record"):
        connection.execute(insert(IdCrosswalk).values(SOURCE | {"source_id": "003B", "golden_id": COMPANY}))
    connection.execute(insert(IdCrosswalk).values(SOURCE | {"entity": "organisation", "golden_id": COMPANY}))


def test_a_merge_moves_the_crosswalk_and_the_link_says_by_which_decision(connection: Connection, rule: int) -> None:
    connection.execute(insert(IdCrosswalk).values(SOURCE | {"golden_id": RIGHT}))
    decision = decide(connection)
    connection.execute(
        update(IdCrosswalk).where(IdCrosswalk.golden_id == RIGHT).values(golden_id=LEFT, decision_id=decision)
    )
    connection.execute(delete(MergeDecision))
    assert connection.execute(select(IdCrosswalk.golden_id, IdCrosswalk.decision_id)).all() == [(LEFT, None)]


def test_a_linked_golden_record_cannot_vanish(connection: Connection, refused: Refused, rule: int) -> None:
    connection.execute(insert(IdCrosswalk).values(SOURCE | {"golden_id": LEFT}))
    with refused("fk_id_crosswalk_entity_golden_id_golden_record"):
        connection.execute(delete(GoldenRecord))


def test_only_a_rule_that_prefers_a_provider_names_one(connection: Connection, refused: Refused) -> None:
    email = {"entity": "person", "attribute": "email"}
    connection.execute(insert(SurvivorshipRule).values(email | {"strategy": "most_recent"}))
    with refused("pk_survivorship_rule"):
        connection.execute(insert(SurvivorshipRule).values(email | {"strategy": "longest"}))
    second = email | {"rank": 2}
    with refused("ck_survivorship_rule_provider_when_preferred"):
        connection.execute(insert(SurvivorshipRule).values(second | {"strategy": "prefer_provider"}))
    with refused("ck_survivorship_rule_strategy"):
        connection.execute(insert(SurvivorshipRule).values(second | {"strategy": "coin"}))
    connection.execute(
        insert(SurvivorshipRule).values(second | {"strategy": "prefer_provider", "preferred_provider": "salesforce"})
    )
