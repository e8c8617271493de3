/* A client of Server-Sent Events that reads as much as it is told; see raw_client.h.
 */
#ifndef TESTS_SSE_READER_H
#define TESTS_SSE_READER_H

#include "tests/lib/raw_client.h"

struct sse_reader {
    int fd;
    int status;
    char head[4096];
    char pending[1 << 16]; /* decoded, not looked at yet */
    size_t pending_len;
    bool ended; /* by the last chunk */
};

struct sse_event {
    char id[128]; /* "" if it has none */
    char name[64];
    char data[4096];
    char comment[128];
    char retry[16];
};

/* Sends a GET with these header lines and reads the answer's head. */
void sse_reader_open(struct sse_reader *r, uint16_t port, const char *path, const char *headers);
/* The next block, whatever is in it. False: the stream has ended, in order. Anything else fails the
 * test. */
bool sse_reader_next(struct sse_reader *r, struct sse_event *ret);
/* Whether nothing comes for so long. */
bool sse_reader_silent(struct sse_reader *r, int ms);
void sse_reader_close(struct sse_reader *r);

#endif
