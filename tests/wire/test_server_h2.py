"""One HTTP/2 server connection: requests and answers, flow control, cancellation, and how it ends."""

from __future__ import annotations

import gc
import logging
import struct

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fastanchor.wire import BadRequest, BodyTooLarge, ClientGone, Drain, Reply, Request, ServerLimits
from fastanchor.wire.exchange_h2 import H2Reply
from fastanchor.wire.hits import limit_hits
from fastanchor.wire.limits import H2Limits
from fastanchor.wire.occupancy import Floor, Occupancy
from tests.kit.h2_frames import (
    CANCEL,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    GOAWAY,
    HEADERS,
    INTERNAL_ERROR,
    NO_ERROR,
    PING,
    POST,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    SETTINGS,
    Fields,
    data,
    frame,
    goaway,
    h2_served,
    headers,
    reset,
    settings,
    split,
    window,
)
from tests.kit.wires import Recorder, cut

OPEN = END_HEADERS
INITIAL_WINDOW_SIZE = 4


def with_method(method: bytes) -> Fields:
    return ((b":method", method), *GET[1:])


class Stuck:
    """A handler that waits until it is cancelled."""

    def __init__(self, *, answer_first: bool = False) -> None:
        self.running = 0
        self.cancelled = 0
        self._answer_first = answer_first

    async def __call__(self, request: Request, reply: Reply) -> None:
        self.running += 1
        try:
            if self._answer_first:
                await reply.start(200, [], b"first")
            await trio.sleep_forever()
        finally:
            self.running -= 1
            self.cancelled += 1


class TestRequest:
    async def test_what_a_handler_sees(self) -> None:
        seen: list[Request] = []

        async def handler(request: Request, reply: Reply) -> None:
            seen.append(request)
            await reply.respond(200, [], b"")

        pairs = ((b"x-y", b"1"), (b"cookie", b"a=b"), (b"x-y", b"2"), (b"cookie", b"c=d"))
        fields = (*GET[:3], (b":path", b"/a?b=c"), *pairs)
        async with h2_served(handler, peer="1.2.3.4:5", secure=True) as client:
            await client.write(headers(1, fields))
        [request] = seen
        assert (request.method, request.target, request.path, request.query) == (b"GET", b"/a?b=c", b"/a", b"b=c")
        assert (request.peer, request.version, request.secure) == ("1.2.3.4:5", b"2", True)
        assert request.headers == [(b"host", b"h"), (b"x-y", b"1"), (b"x-y", b"2"), (b"cookie", b"a=b; c=d")]
        assert (request.get(b"x-y"), request.get(b"z")) == (b"1", None)
        assert repr(request) == "<GET /a from 1.2.3.4:5>"

    @pytest.mark.parametrize("size", [1, 2, 7, 1000])
    async def test_bytes_may_come_in_any_pieces(self, size: int) -> None:
        recorder = Recorder(b"hello")
        sent = PREFACE + settings() + headers(1, POST, OPEN) + data(1, b"abc") + data(1, b"de", END_STREAM) + headers(3)
        async with h2_served(recorder, greet=False) as client:
            for piece in cut(sent, size):
                await client.write(piece)
            answers = client.answers()
        assert sorted(recorder.requests) == [(b"GET", b"/", b""), (b"POST", b"/", b"abcde")]
        assert {n: (a.status, a.body, a.ended) for n, a in answers.items() if n} == {
            1: (200, b"hello", True), 3: (200, b"hello", True)
        }  # fmt: skip

    async def test_body_is_streamed_as_it_comes(self) -> None:
        pieces: list[bytes] = []

        async def handler(request: Request, reply: Reply) -> None:
            while piece := await request.read():
                pieces.append(piece)
            assert await request.read() == b""
            await reply.respond(200, [], b"")

        async with h2_served(handler) as client:
            for sent in (headers(1, POST, OPEN), data(1, b"ab"), data(1, b"cd"), data(1, b"", END_STREAM)):
                await client.write(sent)
            assert client.answers()[1].status == 200
        assert pieces == [b"ab", b"cd"]

    async def test_padding_is_no_body(self) -> None:
        recorder = Recorder()
        async with h2_served(recorder) as client:
            await client.write(headers(1, POST, OPEN) + data(1, b"\x05abc" + bytes(5), 0x8 | END_STREAM))
        assert recorder.requests == [(b"POST", b"/", b"abc")]

    async def test_trailers_end_the_body(self) -> None:
        recorder = Recorder()
        async with h2_served(recorder) as client:
            await client.write(headers(1, POST, OPEN) + data(1, b"abc") + headers(1, ((b"x-sum", b"1"),)))
            assert client.answers()[1].status == 200
        assert recorder.requests == [(b"POST", b"/", b"abc")]

    @pytest.mark.parametrize("fields", [((b"content-length", b"3"),), ((b":path", b"/"),), ((b"x y", b""),)])
    async def test_bad_trailers_cost_the_stream(self, fields: Fields) -> None:
        stuck = Stuck()
        async with h2_served(stuck) as client:
            await client.write(headers(1, POST, OPEN) + headers(1, fields))
            assert client.answers()[1].code == PROTOCOL_ERROR
            assert stuck.running == 0
            assert client.goodbye is None

    async def test_continue_is_sent_when_the_body_is_wanted(self) -> None:
        recorder = Recorder()
        async with h2_served(recorder) as client:
            await client.write(headers(1, (*POST, (b"expect", b"100-continue")), OPEN))
            assert client.answers()[1].interim == [b"100"]
            await client.write(data(1, b"abc", END_STREAM))
            assert client.answers()[1].status == 200
        assert recorder.requests == [(b"POST", b"/", b"abc")]

    async def test_no_continue_for_a_body_that_nobody_wants(self) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            await reply.respond(403, [], b"")

        async with h2_served(handler) as client:
            await client.write(headers(1, (*POST, (b"expect", b"100-continue")), OPEN))
            answer = client.answers()[1]
        assert (answer.interim, answer.status, answer.code) == ([], 403, NO_ERROR)

    @pytest.mark.parametrize(
        "sent",
        [data(1, b"abcd", END_STREAM), data(1, b"ab", END_STREAM), data(1, b"abcd"), headers(1, ((b"a", b"b"),))],
        ids=["longer", "shorter", "longer and open", "trailers only"],
    )
    async def test_a_body_of_the_wrong_length_costs_its_stream_only(self, sent: bytes) -> None:
        async with h2_served(Recorder()) as client:
            await client.write(headers(1, (*POST, (b"content-length", b"3")), OPEN) + sent + headers(3))
            answers = client.answers()
            assert (answers[1].code, answers[1].status) == (PROTOCOL_ERROR, 0)
            assert answers[3].status == 200

    @pytest.mark.parametrize("announced", [True, False])
    async def test_a_body_over_the_limit_is_413(self, announced: bool) -> None:
        fields = (*POST, (b"content-length", b"20")) if announced else POST
        async with h2_served(Recorder(), ServerLimits(body=10)) as client:
            await client.write(headers(1, fields, OPEN) + (b"" if announced else data(1, b"x" * 20)))
            answer = client.answers()[1]
        assert (answer.status, answer.ended, answer.code) == (413, True, NO_ERROR)

    async def test_a_handler_may_allow_a_larger_body(self) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            with pytest.raises(BodyTooLarge):
                await request.read()
            request.max_body = 100
            await reply.respond(200, [], await request.body())

        async with h2_served(handler, ServerLimits(body=2)) as client:
            await client.write(headers(1, (*POST, (b"content-length", b"3")), OPEN) + data(1, b"abc", END_STREAM))
            assert client.answers()[1].body == b"abc"

    async def test_a_body_that_stalls_is_408(self, autojump_clock: MockClock) -> None:
        async with h2_served(Recorder(), ServerLimits(body_grace=100)) as client:
            await client.write(headers(1, POST, OPEN) + data(1, b"abc"))
            await trio.sleep(29)
            assert 1 not in {f.stream for f in client.frames(HEADERS)}
            await trio.sleep(2)
            assert client.answers()[1].status == 408

    async def test_a_body_that_trickles_is_408(self, autojump_clock: MockClock) -> None:
        async with h2_served(Recorder()) as client:
            await client.write(headers(1, POST, OPEN))
            for _ in range(12):
                await client.write(data(1, b"x"))
                await trio.sleep(1)
            assert client.answers()[1].status == 408


class TestReply:
    async def test_an_answer_is_whole(self) -> None:
        async with h2_served(Recorder(b"hello")) as client:
            await client.write(headers(1))
            answer = client.answers()[1]
        assert answer.fields[b"content-length"] == b"5"
        assert b"date" in answer.fields
        assert (answer.status, answer.body, answer.ended) == (200, b"hello", True)

    async def test_head_has_the_length_and_no_body(self) -> None:
        async with h2_served(Recorder(b"hello")) as client:
            await client.write(headers(1, with_method(b"HEAD")))
            answer = client.answers()[1]
        assert (answer.fields[b"content-length"], answer.body, answer.ended) == (b"5", b"", True)

    @pytest.mark.parametrize("status", [204, 304])
    async def test_some_statuses_have_no_body(self, status: int) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            await reply.respond(status, [], b"")

        async with h2_served(handler) as client:
            await client.write(headers(1))
            answer = client.answers()[1]
        assert (answer.status, answer.ended, b"content-length" in answer.fields) == (status, True, False)

    async def test_a_stream_goes_out_piece_by_piece(self) -> None:
        more = trio.Event()

        async def handler(request: Request, reply: Reply) -> None:
            await reply.start(200, [(b"content-type", b"text/event-stream")], b"a")
            await reply.send(b"b")
            await more.wait()
            await reply.send(b"")
            await reply.finish(b"c")

        async with h2_served(handler) as client:
            await client.write(headers(1))
            assert (client.answers()[1].body, client.answers()[1].ended) == (b"ab", False)
            more.set()
            await wait_all_tasks_blocked()
            assert (client.answers()[1].body, client.answers()[1].ended) == (b"abc", True)

    @pytest.mark.parametrize("field", [b"connection", b"transfer-encoding", b"content-length", b"upgrade"])
    async def test_fields_of_the_wire_are_refused(self, field: bytes) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            with pytest.raises(ValueError, match="written by the wire"):
                await reply.respond(200, [(field, b"1")], b"")
            await reply.respond(200, [], b"")

        async with h2_served(handler) as client:
            await client.write(headers(1))
            assert client.answers()[1].status == 200

    @pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\0"])
    async def test_unsafe_values_are_refused(self, value: bytes, caplog: pytest.LogCaptureFixture) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            await reply.respond(200, [(b"x", value)], b"")

        async with h2_served(handler) as client:
            await client.write(headers(1))
            assert client.answers()[1].status == 500
        assert "handler failed" in caplog.text

    async def test_a_failing_handler_is_500_and_the_others_go_on(self, caplog: pytest.LogCaptureFixture) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            if request.path == b"/":
                raise RuntimeError("bug")
            await reply.respond(200, [], b"")

        async with h2_served(handler) as client:
            await client.write(headers(1) + headers(3, (*GET[:3], (b":path", b"/ok"))))
            assert {n: a.status for n, a in client.answers().items() if n} == {1: 500, 3: 200}
        assert [record.levelno for record in caplog.records] == [logging.ERROR]

    async def test_a_broken_answer_is_reset(self) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            await reply.start(200, [], b"abc")
            reply.abort()

        async with h2_served(handler) as client:
            await client.write(headers(1) + headers(3))
            for stream in (1, 3):
                answer = client.answers()[stream]
                assert (answer.body, answer.ended, answer.code) == (b"abc", False, INTERNAL_ERROR)

    @pytest.mark.parametrize("started", [True, False])
    async def test_an_answer_left_unfinished_is_never_taken_for_whole(
        self, started: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            if started:
                await reply.start(200, [], b"abc")

        async with h2_served(handler) as client:
            await client.write(headers(1))
            answer = client.answers()[1]
        assert (answer.code == INTERNAL_ERROR) if started else (answer.status == 500)
        assert "unfinished" in caplog.text


class TestFlowControl:
    async def test_an_answer_waits_for_the_window(self) -> None:
        async with h2_served(Recorder(b"x" * 100_000)) as client:
            await client.write(headers(1))
            assert len(client.answers()[1].body) == 65_535
            await client.write(window(1, 10_000))
            assert len(client.answers()[1].body) == 65_535  # the connection's is closed too
            await client.write(window(0, 100_000))
            assert len(client.answers()[1].body) == 75_535
            await client.write(window(1, 100_000))
            assert (len(client.answers()[1].body), client.answers()[1].ended) == (100_000, True)

    async def test_a_slow_reader_stalls_only_itself(self) -> None:
        async with h2_served(Recorder(b"x" * 3000)) as client:
            await client.write(settings((INITIAL_WINDOW_SIZE, 1000)) + headers(1) + headers(3))
            await client.write(window(3, 2000))
            answers = client.answers()
            assert (len(answers[1].body), answers[1].ended) == (1000, False)
            assert (len(answers[3].body), answers[3].ended) == (3000, True)

    async def test_a_window_may_become_negative(self) -> None:
        async with h2_served(Recorder(b"x" * 30)) as client:
            await client.write(settings((INITIAL_WINDOW_SIZE, 10)) + headers(1))
            await client.write(settings((INITIAL_WINDOW_SIZE, 2)) + window(1, 8))
            assert len(client.answers()[1].body) == 10
            await client.write(window(1, 1))
            assert len(client.answers()[1].body) == 11

    async def test_large_answers_share_the_connection(self) -> None:
        async with h2_served(Recorder(b"x" * 200_000)) as client:
            await client.write(settings((INITIAL_WINDOW_SIZE, 1 << 20)) + window(0, 1 << 24))
            await client.write(b"".join(headers(n) for n in (1, 3, 5)))
            for _ in range(50):
                client.read()
                await wait_all_tasks_blocked()
            answers = client.answers()
            assert [len(answers[n].body) for n in (1, 3, 5)] == [200_000] * 3
            first = [f.stream for f in client.frames(DATA)][:10]
        assert len(set(first)) > 1

    async def test_a_body_that_nobody_reads_holds_up_itself_only(self) -> None:
        stuck = Stuck()

        async def handler(request: Request, reply: Reply) -> None:
            if request.path == b"/stuck":
                await stuck(request, reply)
            await reply.respond(200, [], b"%d" % len(await request.body()))

        piece = b"x" * 16_000
        async with h2_served(handler, ServerLimits(h2=H2Limits(connection_window=100_000))) as client:
            for stream in (1, 3, 5):
                await client.write(headers(stream, (*POST[:3], (b":path", b"/stuck")), OPEN) + data(stream, piece) * 4)
            await client.write(headers(7, POST, OPEN) + data(7, piece) * 4 + data(7, b"", END_STREAM))
            assert client.answers()[7].body == b"64000"

    async def test_what_is_read_is_acknowledged(self) -> None:
        piece = b"x" * 16_000
        async with h2_served(Recorder()) as client:
            await client.write(headers(1, POST, OPEN))
            for _ in range(100):
                await client.write(data(1, piece))
            await client.write(data(1, b"", END_STREAM))
            assert client.answers()[1].status == 200

    async def test_more_than_the_window_ends_the_connection(self) -> None:
        async with h2_served(Stuck()) as client:
            await client.write(headers(1, POST, OPEN) + data(1, b"x" * 16_000) * 5)
            assert client.goodbye == 3

    async def test_a_closed_window_ends_the_stream(self, autojump_clock: MockClock) -> None:
        gone: list[BaseException] = []

        async def handler(request: Request, reply: Reply) -> None:
            try:
                await reply.respond(200, [], b"x" * 100_000)
            except ClientGone as error:
                gone.append(error)
                raise

        async with h2_served(handler) as client:
            await client.write(headers(1))
            await trio.sleep(29)
            assert client.answers()[1].code is None
            await trio.sleep(70)  # 64 KiB have earned it another minute
            assert client.answers()[1].code == CANCEL
        assert len(gone) == 1

    async def test_a_window_opened_byte_by_byte_buys_no_time(self, autojump_clock: MockClock) -> None:
        async with h2_served(Recorder(b"x" * 1000)) as client:
            await client.write(settings((INITIAL_WINDOW_SIZE, 1)) + headers(1))
            for _ in range(35):
                await client.write(window(1, 1))
                await trio.sleep(1)
            assert client.answers()[1].code == CANCEL


class TestCancellation:
    @pytest.mark.parametrize("answer_first", [True, False])
    async def test_a_reset_stream_cancels_its_handler_at_once(self, answer_first: bool) -> None:
        stuck = Stuck(answer_first=answer_first)
        async with h2_served(stuck) as client:
            await client.write(headers(1) + headers(3))
            assert stuck.running == 2
            await client.write(reset(1))
            assert (stuck.running, stuck.cancelled) == (1, 1)
            assert client.goodbye is None
            assert 1 not in {f.stream for f in client.frames() if f.kind == 3}  # RST_STREAM is not answered

    async def test_a_request_reset_in_the_same_breath_never_runs(self) -> None:
        stuck = Stuck()
        async with h2_served(stuck) as client:
            await client.write(headers(1) + reset(1))
            assert stuck.cancelled == 0

    @pytest.mark.parametrize("ending", ["close", "half-close"])
    async def test_the_end_of_the_connection_cancels_every_handler(self, ending: str) -> None:
        stuck = Stuck(answer_first=True)
        async with h2_served(stuck) as client:
            await client.write(headers(1) + headers(3))
            if ending == "close":
                client.sock.close()
            else:
                client.sock.shutdown(1)
            await wait_all_tasks_blocked()
            assert (stuck.running, stuck.cancelled) == (0, 2)

    async def test_a_handler_that_reads_is_cancelled_too(self) -> None:
        cancelled: list[bool] = []

        async def handler(request: Request, reply: Reply) -> None:
            try:
                await request.body()
            except trio.Cancelled:
                cancelled.append(True)
                raise

        async with h2_served(handler) as client:
            await client.write(headers(1, POST, OPEN) + data(1, b"abc") + reset(1))
            await wait_all_tasks_blocked()
            await client.write(headers(3, POST, OPEN))
            await client.write(reset(3))
        assert cancelled == [True]

    async def test_an_answer_before_the_end_of_its_request_stops_the_request(self) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            await reply.respond(200, [], b"enough")

        async with h2_served(handler) as client:
            await client.write(headers(1, POST, OPEN))
            answer = client.answers()[1]
            assert (answer.status, answer.ended, answer.code) == (200, True, NO_ERROR)
            await client.write(data(1, b"late") + headers(3))  # was on its way already
            assert client.answers()[3].status == 200


class TestConcurrency:
    async def test_one_stream_too_many_is_refused(self) -> None:
        stuck = Stuck()
        async with h2_served(stuck, ServerLimits(h2=H2Limits(streams=3))) as client:
            await client.write(b"".join(headers(n) for n in (1, 3, 5, 7)))
            assert {n: a.code for n, a in client.answers().items() if n} == {7: REFUSED_STREAM}
            await client.write(reset(1) + headers(9))
            await client.write(headers(11))
            assert stuck.running == 3
            assert client.goodbye is None

    async def test_a_reset_stream_counts_until_its_handler_has_ended(self) -> None:
        release = trio.Event()

        async def handler(request: Request, reply: Reply) -> None:
            with trio.CancelScope(shield=True):
                await release.wait()

        async with h2_served(handler, ServerLimits(h2=H2Limits(streams=2))) as client:
            await client.write(headers(1) + reset(1) + headers(3))
            await client.write(reset(3) + headers(5))
            await client.write(headers(7))
            assert client.answers()[7].code == REFUSED_STREAM
            release.set()
            await wait_all_tasks_blocked()

    async def test_finished_answers_make_room_before_their_handlers_end(self) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            await reply.respond(200, [], b"")
            await trio.sleep_forever()

        async with h2_served(handler, ServerLimits(h2=H2Limits(streams=1))) as client:
            for n in (1, 3, 5):
                await client.write(headers(n))
                assert client.answers()[n].status == 200


class TestEndings:
    async def test_drain_is_two_steps(self) -> None:
        drain, stuck = Drain(), Stuck()
        async with h2_served(stuck, drain=drain) as client:
            await client.write(headers(1))
            drain.start()
            await client.write(headers(3))  # began before it could know
            assert stuck.running == 2
            [first] = client.frames(GOAWAY)
            assert (first.payload[:4], first.code) == (b"\x7f\xff\xff\xff", NO_ERROR)
            [farewell] = client.frames(PING)
            await client.write(frame(PING, 1, 0, farewell.payload) + headers(5))
            assert client.answers()[5].code == REFUSED_STREAM
            assert client.frames(GOAWAY)[-1].payload[:4] == (3).to_bytes(4, "big")
            await client.write(reset(1) + reset(3))
            client.read()
            assert client.ended

    async def test_open_streams_count_for_the_worker_until_they_end(self) -> None:
        floor = Floor(1)
        occupancy, stuck = Occupancy(floor, 0), Stuck()
        occupancy.enter()
        async with h2_served(stuck, drain=Drain(occupancy)) as client:
            await client.write(headers(1) + headers(3) + headers(5))
            assert floor[0] == 3
            await client.write(reset(3))
            assert floor[0] == 2
        assert floor[0] == 0

    async def test_a_client_that_does_not_answer_is_left_after_a_second(self, autojump_clock: MockClock) -> None:
        drain = Drain()
        async with h2_served(Recorder(), drain=drain) as client:
            drain.start()
            await trio.sleep(2)
            client.read()
            assert len(client.frames(GOAWAY)) == 2
            assert client.ended

    async def test_an_answer_under_way_outlives_a_drain(self) -> None:
        drain, release = Drain(), trio.Event()

        async def handler(request: Request, reply: Reply) -> None:
            await reply.start(200, [], b"a")
            await release.wait()
            await reply.finish(b"b")

        async with h2_served(handler, drain=drain) as client:
            await client.write(headers(1))
            drain.start()
            await wait_all_tasks_blocked()
            [farewell] = client.frames(PING)
            await client.write(frame(PING, 1, 0, farewell.payload))
            assert not client.ended
            release.set()
            await wait_all_tasks_blocked()
            answer = client.answers()[1]
            assert (answer.body, answer.ended, client.ended) == (b"ab", True, True)

    async def test_a_connection_has_served_enough(self) -> None:
        async with h2_served(Recorder(), ServerLimits(requests=3)) as client:
            for n in (1, 3):
                await client.write(headers(n))
            assert client.goodbye is None
            await client.write(headers(5))
            assert client.goodbye == NO_ERROR
            assert client.answers()[5].status == 200
        assert limit_hits() == {"requests": 1}

    async def test_a_client_that_goes_away_gets_its_answers(self) -> None:
        release = trio.Event()

        async def handler(request: Request, reply: Reply) -> None:
            await release.wait()
            await reply.respond(200, [], b"late")

        async with h2_served(handler) as client:
            await client.write(headers(1) + goaway(0))
            release.set()
            await wait_all_tasks_blocked()
            assert (client.answers()[1].body, client.ended) == (b"late", True)

    async def test_idle_connections_end_and_pings_keep_none_alive(self, autojump_clock: MockClock) -> None:
        async with h2_served(Recorder(), ServerLimits(idle=20)) as client:
            await client.write(headers(1))
            for _ in range(4):
                await trio.sleep(6)
                await client.write(frame(PING, 0, 0, bytes(8)))
            client.read()
            assert client.goodbye == NO_ERROR
            assert client.ended
        assert limit_hits()["idle"] == 1

    async def test_a_stream_that_is_open_is_not_idle(self, autojump_clock: MockClock) -> None:
        stuck = Stuck()
        async with h2_served(stuck, ServerLimits(idle=20)) as client:
            await client.write(headers(1))
            await trio.sleep(100)
            assert stuck.running == 1

    async def test_http1_is_spoken_on_the_same_listener(self) -> None:
        async with h2_served(Recorder(b"hello"), greet=False) as client:
            await client.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert client.read().startswith(b"HTTP/1.1 200 OK")

    async def test_a_request_that_begins_like_the_preface(self) -> None:
        async with h2_served(Recorder(b"hello"), greet=False) as client:
            for piece in (b"PR", b"I", b" /x HTTP/1.1\r\nHost: h\r\n\r\n"):
                await client.write(piece)
            assert client.read().startswith(b"HTTP/1.1 200 OK")


def test_the_kit_cuts_frames() -> None:
    assert [f.kind for f in split(settings() + headers(1) + data(1, b"x"))] == [4, 1, 0]


async def test_extended_connect_is_not_announced() -> None:
    """So nobody asks for a WebSocket over HTTP/2 (RFC 8441 §3)."""
    async with h2_served(Recorder()) as client:
        announced = client.frames(SETTINGS)[0].payload
    values = dict(struct.iter_unpack("!HI", announced))
    assert values[3] == ServerLimits().h2.streams
    assert values.get(8, 0) == 0


async def test_streams_leave_nothing_for_the_collector() -> None:
    """What a stream held goes with its end: a cycle would stay, in thousands, until the collector comes by."""

    async def handler(request: Request, reply: Reply) -> None:
        await request.body()
        await reply.respond(200, [], b"")

    async with h2_served(handler) as client:
        await client.write(headers(1))
        gc.collect()
        gc.disable()
        try:
            await client.write(headers(3) + headers(5, POST, OPEN) + headers(7, POST, OPEN))
            await client.write(reset(5))
            client.sock.close()
            await wait_all_tasks_blocked()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = {type(one).__name__ for one in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert left & {"Serving", "H2Request", "H2Reply", "H2Stream", "Connection"} == set()


async def test_a_client_that_leaves_under_an_error_is_no_fault_of_the_handler(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def gone(*_: object) -> None:
        raise ClientGone("left")

    async def handler(request: Request, reply: Reply) -> None:
        raise BadRequest(408, "body came too slowly")

    monkeypatch.setattr(H2Reply, "respond", gone)
    async with h2_served(handler) as client:
        await client.write(headers(1))
    assert caplog.records == []
