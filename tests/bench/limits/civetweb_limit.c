/* The limit of the server that the gateway builds on: civetweb, set as common/http.c sets it, with
 * a handler that reads the body and answers the same bytes each time.
 *
 *     build/bench/limits/civetweb_limit ADDRESS
 */
#include <civetweb.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char ANSWER[] =
    "HTTP/1.1 202 Accepted\r\n"
    "Date: Tue, 01 Jan 2030 00:00:00 GMT\r\n"
    "Content-Type: application/json\r\n"
    "Content-Length: 72\r\n"
    "Cache-Control: no-store\r\n"
    "X-Request-Id: 01a22f12-887f-747e-9e10-fbb2a43d816a\r\n"
    "Location: /api/v1/events/01a22f12-887f-71c0-85c8-58e2184b16a3\r\n"
    "\r\n"
    "{\"event_id\":\"01a22f12-887f-71c0-85c8-58e2184b16a3\",\"status\":\"accepted\"}\n";

static void *on_thread(const struct mg_context *context, int type)
{
    (void)context;
    if (type == 1) /* a worker, as the gateway's */
        (void)sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    return NULL;
}

static int answer(struct mg_connection *conn)
{
    char body[4096];
    while (mg_read(conn, body, sizeof body) > 0)
        ;
    (void)mg_write(conn, ANSWER, sizeof ANSWER - 1);
    return 202;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: civetweb_limit ADDRESS\n");
        return 2;
    }
    const char *settings[] = {"listening_ports",
                              argv[1],
                              "num_threads",
                              "576",
                              "request_timeout_ms",
                              "10000",
                              "keep_alive_timeout_ms",
                              "75000",
                              "enable_keep_alive",
                              "yes",
                              "tcp_nodelay",
                              "1",
                              "listen_backlog",
                              "1024",
                              "decode_url",
                              "no",
                              "enable_auth_domain_check",
                              "no",
                              "enable_directory_listing",
                              "no",
                              NULL};
    struct mg_callbacks callbacks = {.begin_request = answer, .init_thread = on_thread};
    (void)signal(SIGPIPE, SIG_IGN);
    mg_init_library(MG_FEATURES_DEFAULT);
    if (!mg_start(&callbacks, NULL, settings)) {
        fprintf(stderr, "civetweb_limit: cannot listen on %s\n", argv[1]);
        return 1;
    }
    for (;;)
        (void)pause();
}
