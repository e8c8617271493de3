/* The limit of the server that the gateway builds on: civetweb, set as common/http.c sets it, with
 * a handler that reads the body and answers the same bytes each time. With "wait" each request also
 * waits until another thread has been woken and has woken it, which is the least that any answer
 * costs that depends on somebody else, such as the bus.
 *
 *     build/bench/limits/civetweb_limit ADDRESS [wait]
 */
#include <civetweb.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
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

struct waiter {
    struct waiter *next;
    sem_t woken;
};

static bool used;                      /* whether requests wait */
static _Atomic(struct waiter *) asked; /* the last one first */
static sem_t some_asked;

static void wait_for_the_other(void)
{
    struct waiter self = {.next = asked};
    sem_init(&self.woken, 0, 0);
    while (!atomic_compare_exchange_weak(&asked, &self.next, &self))
        ;
    if (!self.next)
        sem_post(&some_asked);
    while (sem_wait(&self.woken) != 0)
        ;
}

static void *wake_all(void *unused)
{
    (void)unused;
    for (;;) {
        while (sem_wait(&some_asked) != 0)
            ;
        struct waiter *next = atomic_exchange(&asked, NULL);
        while (next) {
            struct waiter *waiter = next;
            next = waiter->next;
            sem_post(&waiter->woken);
        }
    }
    return NULL;
}

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
    if (used)
        wait_for_the_other();
    (void)mg_write(conn, ANSWER, sizeof ANSWER - 1);
    return 202;
}

int main(int argc, char **argv)
{
    pthread_t other;
    used = argc == 3 && strcmp(argv[2], "wait") == 0;
    if (argc != (used ? 3 : 2)) {
        fprintf(stderr, "usage: civetweb_limit ADDRESS [wait]\n");
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
    sem_init(&some_asked, 0, 0);
    if (used && pthread_create(&other, NULL, wake_all, NULL) != 0)
        return 1;
    for (;;)
        (void)pause();
}
