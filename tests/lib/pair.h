/* Connections for tests of gathered writes: one end as core has it, and its peer.
 */
#ifndef TESTS_PAIR_H
#define TESTS_PAIR_H

#include <stdbool.h>
#include <sys/types.h>

#define PAIR_WAIT_MS 10000

struct pair {
    int fd, peer;
};

struct pair pair_open(void); /* fd is adopted, as if accept4 had returned it */
void pair_close(struct pair *p);
ssize_t pair_put_bytes(int fd, const void *bytes, size_t len); /* sendmsg, in two pieces */
void pair_put(int fd, const char *text);                       /* ... which must take all */
bool pair_readable(int fd, int wait_ms);
/* What the peer can read at once must be this. */
void pair_check(const struct pair *p, const char *expected);
/* Gathers numbered blocks, one a turn, until the socket is full and sendmsg says so; returns how
 * many bytes were taken. */
size_t pair_fill(const struct pair *p);
/* Reads them at the peer, also those that only the flusher can send. */
void pair_check_filled(const struct pair *p, size_t taken);

#endif
