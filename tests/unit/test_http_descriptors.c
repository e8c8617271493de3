/* When the process may open no more files: time limits and the orderly end hold all the same.
 */
#include "common/http.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_MS 400

static struct http_server *server;
static struct raw_reply reply;
static struct rlimit limit_before;

static enum err echo(struct http_request *r, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    struct view body;
    enum err e = http_body(r, &body, detail);

    (void)ctx;
    if (!e)
        buf_add_view(&response->body, body);
    return e;
}

static const struct http_route routes[] = {
    {"POST", "/echo", echo, NULL},
    {NULL, NULL, NULL, NULL},
};

static int start_with(int64_t request_ms)
{
    struct http_options options = {.listen = "127.0.0.1:0",
                                   .connections = 3,
                                   .reserve = 2,
                                   .max_body = 100000,
                                   .request_timeout_ms = request_ms,
                                   .idle_timeout_ms = 600000,
                                   .routes = routes};
    struct err_detail detail = {""};

    if (http_start(&options, &server, &detail) != ERR_NONE)
        fail_msg("%s", detail.text);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit_before), 0);
    return 0;
}

static int start(void **state)
{
    (void)state;
    return start_with(REQUEST_MS);
}

static int start_patient(void **state)
{
    (void)state;
    return start_with(60000);
}

static void give_descriptors(void)
{
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit_before), 0);
}

static int stop(void **state)
{
    (void)state;
    give_descriptors();
    if (server)
        http_stop(server);
    server = NULL;
    return 0;
}

/* From now on no descriptor can be opened; those that are open stay. */
static void take_descriptors(void)
{
    struct rlimit none = {.rlim_cur = 1, .rlim_max = limit_before.rlim_max};

    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(dup(0), -1);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int post_begin(void)
{
    int fd = raw_connect(http_port(server));

    raw_send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
    raw_receive(fd, false, &reply);
    assert_int_equal(reply.status, 200);
    raw_send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
    return fd;
}

static void slow_requests_end_in_408(void **state)
{
    int fd = post_begin();
    int64_t begin = now_ms();

    (void)state;
    take_descriptors();
    for (int i = 0; i < 900 && !raw_readable(fd, 20); i++)
        raw_send(fd, "x", 1);
    raw_receive(fd, false, &reply);
    assert_int_equal(reply.status, 408);
    assert_in_range(now_ms() - begin, REQUEST_MS - 50, REQUEST_MS + 2500);
    raw_close(fd);
}

static atomic_bool stopped;

static void *stop_main(void *arg)
{
    (void)arg;
    http_stop(server);
    atomic_store(&stopped, true);
    return NULL;
}

static void requests_in_progress_are_finished(void **state)
{
    static char body[1001];
    int fd = post_begin(), idle = raw_connect(http_port(server));
    pthread_t stopper;

    (void)state;
    memset(body, 'x', 1000);
    raw_send_text(idle, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
    raw_receive(idle, false, &reply);
    take_descriptors();
    pthread_create(&stopper, NULL, stop_main, NULL);
    assert_true(raw_closed(idle)); /* the end has begun */
    assert_false(raw_readable(fd, 300));
    raw_send_text(fd, body);
    raw_receive(fd, false, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, body);
    assert_until(atomic_load(&stopped));
    pthread_join(stopper, NULL);
    server = NULL;
    raw_close(fd);
    raw_close(idle);
}

/* ---- the limit ---- */

/* In a process of its own: 0 if a server for 20 connections starts, 1 if it says what it lacks. */
static int try_start(rlim_t soft, rlim_t hard)
{
    struct rlimit limit = {soft, hard};
    struct http_options options = {.listen = "127.0.0.1:0",
                                   .connections = 20,
                                   .reserve = 2,
                                   .request_timeout_ms = REQUEST_MS,
                                   .idle_timeout_ms = REQUEST_MS,
                                   .routes = routes};
    struct err_detail detail = {""};

    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 2;
    if (http_start(&options, &server, &detail) != ERR_NONE)
        return strstr(detail.text, "150 open files") ? 1 : 3;
    http_stop(server);
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 150 ? 0 : 4;
}

static int outcome_of_start(rlim_t soft, rlim_t hard)
{
    pid_t pid = fork();
    int status = -1;

    if (pid == 0)
        _exit(try_start(soft, hard));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void connections_need_descriptors(void **state)
{
    (void)state;
    assert_int_equal(outcome_of_start(40, 200), 0);
    assert_int_equal(outcome_of_start(40, 100), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_need_descriptors), /* first: before there are threads */
        cmocka_unit_test_setup_teardown(slow_requests_end_in_408, start, stop),
        cmocka_unit_test_setup_teardown(requests_in_progress_are_finished, start_patient, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
