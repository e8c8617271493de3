/* A client that sends exactly the bytes it is told, for tests of the HTTP server. Nothing waits
 * longer than RAW_LIMIT_MS; what does not come in time fails the test.
 */
#ifndef TIDINGS_TESTS_RAW_CLIENT_H
#define TIDINGS_TESTS_RAW_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAW_LIMIT_MS 30000

struct raw_reply {
    int status;
    char head[4096];    /* status line and headers, NUL-terminated */
    char body[1 << 17]; /* NUL-terminated */
    size_t body_len;
};

int raw_connect(uint16_t port);
/* Sends it all; false: the other side has closed. */
bool raw_send(int fd, const void *bytes, size_t len);
bool raw_send_text(int fd, const char *text);
/* Reads one reply. `head_only`: to HEAD, so without a body. */
void raw_receive(int fd, bool head_only, struct raw_reply *ret);
/* The header of a reply whose body comes in chunks, each then to be received by itself. */
void raw_receive_head(int fd, struct raw_reply *ret);
/* The next chunk, NUL-terminated. Returns its length; 0: it was the last one. False: the connection
 * has ended before. */
bool raw_receive_chunk(int fd, char *to, size_t size, size_t *ret);
/* A whole reply of which the body comes in chunks. False: it was cut off; then `body` has what came
 * of it. */
bool raw_receive_chunks(int fd, struct raw_reply *ret);
/* The header's value, copied to `value`; false: absent. */
bool raw_header(const struct raw_reply *reply, const char *name, char value[512]);
/* Whether the other side closes the connection, without sending anything more. */
bool raw_closed(int fd);
/* Whether something arrives within so many milliseconds. */
bool raw_readable(int fd, int ms);
void raw_close(int fd);
/* Closes once the other side has: it has room for another connection then. */
void raw_end(int fd);

/* Connects, sends, reads one reply, ends. */
void raw_exchange(uint16_t port, const char *request, struct raw_reply *ret);

#endif
