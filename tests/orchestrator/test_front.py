"""What is answered over HTTP, but for the sockets and Ray."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from random_policies import policy_of

from rllib_mec.envs import BatchedMECEnv
from rllib_mec.experiment.environments import scenario
from rllib_mec.experiment.export.write import About, write_policy
from rllib_mec.orchestrator import Orchestrator
from rllib_mec.orchestrator.front import Front, Limits, digest
from rllib_mec.orchestrator.mec import states_of_mec
from rllib_mec.source import without_twins

FIELD = {"scenario": "field", "num_ues": 3}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def orchestrator(tmp_path_factory):
    policy = policy_of("HMPPO", "mec", FIELD, entity_shared=True)
    directory = tmp_path_factory.mktemp("front") / "exported"
    about = About("HMPPO", {"name": "mec", "config": FIELD}, scenario("mec", FIELD))
    write_policy(policy, about, directory)
    return Orchestrator(directory)


@pytest.fixture(scope="module")
def state():
    env = BatchedMECEnv(FIELD, 1)
    env.reset(1)
    return states_of_mec(env.simulator)[0]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def front_of(orchestrator, *, token=None, decide=None, clock=None, **limits):
    async def alone(state):
        return orchestrator.decide_checked([state])[0]

    more = {} if clock is None else {"clock": clock}
    return Front(orchestrator, decide or alone, Limits(**limits), token, **more)


def ask(front, method, path, body=b"", headers=JSON):
    async def pieces():
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        for start in range(0, len(data), 1000):
            yield data[start : start + 1000]

    return asyncio.run(front.answer(method, path, headers, pieces()))


def error_of(answer):
    assert answer.media_type == "application/json"
    error = json.loads(answer.body)["error"]
    assert error["status"] == answer.status
    assert "\n" not in error["message"]
    assert len(error["message"]) < 300
    return answer.status, error["message"]


def test_a_state_gets_its_decision(orchestrator, state):
    front = front_of(orchestrator)
    answer = ask(
        front, "POST", "/decide", state, {"content-type": "application/json; charset=utf-8"}
    )
    assert answer.status == 200
    assert json.loads(answer.body) == orchestrator.decide(state)


def test_the_schema_is_one_and_takes_the_state(orchestrator, state):
    answer = ask(front_of(orchestrator), "GET", "/schema")
    schemas = json.loads(answer.body)
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    Draft202012Validator(schemas["state"]).validate(state)
    Draft202012Validator(schemas["decision"]).validate(orchestrator.decide(state))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/decide/", 404), ("GET", "/decide", 405), ("PUT", "/schema", 405)],
)
def test_other_paths_and_methods(orchestrator, method, path, status):
    answer = ask(front_of(orchestrator), method, path)
    found, message = error_of(answer)
    assert found == status
    assert "expected" in message
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"nul",
        b"[" * 100_000,
        b'{"ues": 1' + b"0" * 5000 + b"}",
        b'{"a":1,"a":2}',
    ],
)
def test_what_is_not_json_is_400(orchestrator, body):
    status, message = error_of(ask(front_of(orchestrator), "POST", "/decide", body))
    assert status == 400
    assert message.startswith("the body is not JSON: ")


@pytest.mark.parametrize("body", [b"null", b"7", b'"x"', b"[]", b"{}", b'{"ues": [NaN]}'])
def test_what_is_no_state_is_422(orchestrator, body):
    status, message = error_of(ask(front_of(orchestrator), "POST", "/decide", body))
    assert status == 422
    assert "expected" in message


def test_a_bad_value_is_named(orchestrator, state):
    bad = {**state, "ues": [state["ues"][0], state["ues"][1] | {"tokens": float("nan")}]}
    status, message = error_of(ask(front_of(orchestrator), "POST", "/decide", bad))
    assert status == 422
    assert message == "UE 1.tokens = nan: expected a number in [100000, 600000]"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_is_sent_is_decided_or_refused(orchestrator, state, data):
    """A valid state with anything in some place, or anything alone: never an error of ours."""
    sent = json.loads(json.dumps(state))
    value = data.draw(ANYTHING)
    place = data.draw(st.sampled_from(["all", "key", "ues", "ue", "field", "new field"]))
    ue = data.draw(st.integers(0, len(sent["ues"]) - 1))
    if place == "all":
        sent = value
    elif place in ("key", "ues"):
        sent["tasks_left" if place == "key" else "ues"] = value
    elif place == "ue":
        sent["ues"][ue] = value
    else:
        name = data.draw(st.sampled_from(sorted(sent["ues"][ue])))
        sent["ues"][ue][name if place == "field" else data.draw(st.text())] = value
    answer = ask(front_of(orchestrator), "POST", "/decide", sent)
    if answer.status == 200:
        assert json.loads(answer.body) == orchestrator.decide(sent)
    else:
        status, message = error_of(answer)
        assert status in (400, 422)
        assert "expected" in message or "did you mean" in message or "not JSON" in message


@given(body=st.binary(max_size=300))
def test_whatever_bytes_are_sent_are_refused(orchestrator, body):
    assert error_of(ask(front_of(orchestrator), "POST", "/decide", body))[0] in (400, 422)


def test_only_json_that_is_not_compressed(orchestrator, state):
    for headers in ({}, {"content-type": "text/plain"}, JSON | {"content-encoding": "gzip"}):
        answer = ask(front_of(orchestrator), "POST", "/decide", state, headers)
        assert error_of(answer)[0] == 415


def test_a_body_that_is_too_large(orchestrator, state):
    front = front_of(orchestrator, max_body=2000)
    body = b" " * 2001
    for headers in (JSON, JSON | {"content-length": "2001"}, JSON | {"content-length": "9" * 50}):
        status, message = error_of(ask(front, "POST", "/decide", body, headers))
        assert (status, message) == (413, "a body of more than 2,000 bytes")
    assert error_of(ask(front, "POST", "/decide", b" " * 2000))[0] == 400
    # What the client says of its body is looked at before the body.
    assert error_of(ask(front, "POST", "/decide", b"", JSON | {"content-length": "2001"}))[0] == 413


def test_a_length_that_is_none(orchestrator):
    for length in ("-1", "ten", "\u0663"):
        answer = ask(
            front_of(orchestrator), "POST", "/decide", b"{}", JSON | {"content-length": length}
        )
        assert error_of(answer)[0] == 400


def test_many_names_of_which_one_comes_twice_take_no_longer(orchestrator):
    """Looking for it is linear: names are compared by their hashes, not each with each."""

    class Counted(str):
        compared = 0

        def __eq__(self, other):
            Counted.compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    names = [Counted(f"{index:x}") for index in range(2000)]
    with pytest.raises(ValueError, match="'0' comes twice in one object"):
        without_twins([(name, 0) for name in [*names, Counted("0")]])
    assert Counted.compared < 10 * len(names)
    body = ("{" + ",".join(f'"{index:x}":0' for index in range(40_000)) + ',"0":1}').encode()
    answer = ask(front_of(orchestrator), "POST", "/decide", body)
    assert error_of(answer) == (400, "the body is not JSON: '0' comes twice in one object")


def test_a_decision_that_fails_is_counted_and_told(orchestrator, state, caplog):
    async def failing(checked):
        raise RuntimeError("no weights")

    front = front_of(orchestrator, decide=failing)
    status, message = error_of(ask(front, "POST", "/decide", state))
    assert (status, message) == (500, "the decision failed: the server's log says why")
    assert "no weights" in caplog.text
    lines = ask(front, "GET", "/metrics").body.decode().splitlines()
    assert 'rllib_requests_total{path="/decide",status="500"} 1' in lines


def test_a_body_that_does_not_come(orchestrator):
    front = front_of(orchestrator, body_s=0.01)

    async def never():
        yield b"{"
        await asyncio.Event().wait()

    answer = asyncio.run(front.answer("POST", "/decide", JSON, never()))
    assert error_of(answer)[0] == 408


def test_the_token_is_asked_for(orchestrator, state):
    front = front_of(orchestrator, token=digest("secret"))
    for header in ({}, {"authorization": "secret"}, {"authorization": "Bearer secre"},
                  {"authorization": "Basic secret"}, {"authorization": "Bearer "},
                  {"authorization": "Bearer \xff"}):  # fmt: skip
        for method, path in (("POST", "/decide"), ("GET", "/schema"), ("GET", "/metrics")):
            answer = ask(front, method, path, state, JSON | header)
            assert error_of(answer)[0] == 401
            assert answer.headers == {"WWW-Authenticate": "Bearer"}
    right = JSON | {"authorization": "Bearer secret"}
    assert ask(front, "POST", "/decide", state, right).status == 200
    assert ask(front, "GET", "/schema", headers=right).status == 200
    assert ask(front, "GET", "/health", headers={}).status == 200


def test_the_rate_is_limited(orchestrator):
    clock = Clock()
    front = front_of(orchestrator, rate=4.0, clock=clock)
    assert [ask(front, "GET", "/schema").status for _ in range(6)] == [200] * 4 + [429] * 2
    answer = ask(front, "GET", "/schema")
    assert error_of(answer)[1] == "more than 4 requests per second"
    assert answer.headers == {"Retry-After": "1"}
    clock.now += 0.5
    assert [ask(front, "GET", "/schema").status for _ in range(3)] == [200, 200, 429]
    clock.now += 100
    assert [ask(front, "GET", "/schema").status for _ in range(5)] == [200] * 4 + [429]
    # Health is asked for by whoever watches over it, and must not fall to the crowd.
    assert ask(front, "GET", "/health").status == 200


@pytest.mark.parametrize(("rate", "seconds"), [(0.4, "3"), (1e-310, "3600")])
def test_who_comes_again_when_told_to_is_answered(orchestrator, rate, seconds):
    clock = Clock()
    front = front_of(orchestrator, rate=rate, clock=clock)
    assert ask(front, "GET", "/schema").status == 200
    answer = ask(front, "GET", "/schema")
    assert answer.headers == {"Retry-After": seconds}
    if rate > 0.1:
        clock.now += float(seconds)
        assert ask(front, "GET", "/schema").status == 200


def test_who_has_no_token_takes_nothing_from_the_rate(orchestrator):
    front = front_of(orchestrator, token=digest("secret"), rate=2.0, clock=Clock())
    assert {ask(front, "GET", "/schema").status for _ in range(10)} == {401}
    headers = {"authorization": "Bearer secret"}
    assert ask(front, "GET", "/schema", headers=headers).status == 200


def test_too_many_at_a_time_are_turned_away(orchestrator, state):
    async def run():
        gate = asyncio.Event()

        async def slow(checked):
            await gate.wait()
            return orchestrator.decide_checked([checked])[0]

        async def body():
            yield json.dumps(state).encode()

        front = front_of(orchestrator, decide=slow, in_flight=3)
        asked = [
            asyncio.create_task(front.answer("POST", "/decide", JSON, body())) for _ in "12345"
        ]
        refused, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        while len(refused) < 2:
            await asyncio.sleep(0)
            refused = {task for task in asked if task.done()}
        gate.set()
        answers = await asyncio.gather(*asked)
        # Places are given back.
        again = await front.answer("POST", "/decide", JSON, body())
        return [answer.status for answer in answers], again.status

    statuses, again = asyncio.run(run())
    assert sorted(statuses) == [200] * 3 + [429] * 2
    assert again == 200


def test_metrics_count_what_was_answered(orchestrator, state):
    front = front_of(orchestrator)
    for _ in range(3):
        ask(front, "POST", "/decide", state)
    ask(front, "POST", "/decide", b"{")
    ask(front, "GET", "/secret-path-of-somebody")
    lines = ask(front, "GET", "/metrics").body.decode().splitlines()
    for line in (
        'rllib_requests_total{path="/decide",status="200"} 3',
        'rllib_requests_total{path="/decide",status="400"} 1',
        'rllib_requests_total{path="other",status="404"} 1',
        "rllib_decide_seconds_count 3",
        'rllib_decide_seconds_bucket{le="+Inf"} 3',
        "rllib_decided_ues_total 9",
    ):
        assert line in lines
    assert "secret" not in "".join(lines)
