#include "tests/lib/served.h"

#include "tests/lib/unit.h"

enum { DEADLINE_MS = 60000 };

int served_begin(void **state)
{
    static struct served served;
    void *asked;
    asked_begin(&asked);
    served = (struct served){.asked = asked};
    until_ready(served.asked);
    assert_int_equal(
        event_watch_start(&(struct event_watch_options){.query = served.asked->query,
                                                        .follower = served.asked->follower,
                                                        .table = served.asked->table,
                                                        .changes = served.asked->changes,
                                                        .metrics = served.asked->metrics},
                          &served.event_watch),
        ERR_NONE);
    assert_int_equal(changes_watch_start(
                         &(struct changes_watch_options){.query = served.asked->query,
                                                         .table = served.asked->table,
                                                         .changes = served.asked->changes,
                                                         .status_log = served.asked->world.statuses,
                                                         .metrics = served.asked->metrics},
                         &served.changes_watch),
                     ERR_NONE);
    served.events = (struct rpc_events){.query = served.asked->query,
                                        .event_watch = served.event_watch,
                                        .changes_watch = served.changes_watch,
                                        .table = served.asked->table,
                                        .processor = VIEW("one"),
                                        .group = VIEW("default")};
    struct err_detail detail;
    assert_int_equal(rpc_start(&(struct rpc_options){.listen = "127.0.0.1:0",
                                                     .threads = 2,
                                                     .methods = rpc_events_methods,
                                                     .ctx = &served.events,
                                                     .request_max = RPC_EVENTS_REQUEST_MAX},
                               &served.server, &detail),
                     ERR_NONE);
    served.port = rpc_port(served.server);
    buf_init(&served.message, 64u << 20);
    *state = &served;
    return 0;
}

int served_end(void **state)
{
    struct served *served = *state;
    void *asked = served->asked;
    event_watch_end(served->event_watch);
    changes_watch_end(served->changes_watch);
    rpc_stop(served->server, 1000);
    asked_stop(served->asked);
    event_watch_free(served->event_watch);
    changes_watch_free(served->changes_watch);
    buf_free(&served->message);
    return asked_end(&asked);
}

struct grpc_stream *served_call(struct served *served, const char *path)
{
    struct grpc_stream *stream = grpc_stream_open(served->port, path, DEADLINE_MS);
    grpc_stream_send(stream, buf_view(&served->message));
    grpc_stream_half_close(stream);
    return stream;
}

void served_receive(struct served *served, struct grpc_stream *stream)
{
    assert_true(grpc_stream_receive(stream, &served->message, GRPC_STREAM_WAIT_MS));
}

void served_ends_with(struct served *served, struct grpc_stream *stream, enum err e)
{
    assert_int_equal(grpc_stream_status(stream, &served->message, GRPC_STREAM_WAIT_MS),
                     err_grpc_status(e));
    grpc_stream_close(stream);
}
