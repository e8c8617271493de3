#include "tests/lib/pair.h"

#include "common/rpc_gather.h"
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct pair pair_open(void)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    rpc_connection_adopt(ends[0]);
    return (struct pair){ends[0], ends[1]};
}

void pair_close(struct pair *p)
{
    close(p->fd);
    close(p->peer);
}

ssize_t pair_put_bytes(int fd, const void *bytes, size_t len)
{
    /* In two pieces, as core's messages come in several. */
    struct iovec pieces[2] = {{(void *)bytes, len / 2}, {(char *)bytes + len / 2, len - len / 2}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

void pair_put(int fd, const char *text)
{
    assert_int_equal(pair_put_bytes(fd, text, strlen(text)), strlen(text));
}

bool pair_readable(int fd, int wait_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, wait_ms) == 1;
}

void pair_check(const struct pair *p, const char *expected)
{
    char text[256] = "";
    ssize_t len = recv(p->peer, text, sizeof text - 1, MSG_DONTWAIT);
    if (len < 0)
        len = 0;
    text[len] = '\0';
    assert_string_equal(text, expected);
}

size_t pair_fill(const struct pair *p)
{
    char block[1024];
    size_t taken = 0;
    for (unsigned i = 0; i < 100000; i++) {
        memset(block, (int)(i % 251), sizeof block);
        rpc_gather_begin();
        ssize_t sent = pair_put_bytes(p->fd, block, sizeof block);
        rpc_gather_end();
        if (sent < 0) {
            assert_int_equal(errno, EAGAIN);
            return taken;
        }
        assert_int_equal(sent, sizeof block);
        taken += sizeof block;
    }
    fail();
    return 0;
}

void pair_check_filled(const struct pair *p, size_t taken)
{
    for (size_t at = 0; at < taken; at += 1024) {
        char block[1024];
        assert_true(pair_readable(p->peer, PAIR_WAIT_MS)); /* also what only the flusher can send */
        assert_int_equal(recv(p->peer, block, sizeof block, MSG_WAITALL), sizeof block);
        assert_int_equal((unsigned char)block[0], at / 1024 % 251);
        assert_int_equal((unsigned char)block[1023], at / 1024 % 251);
    }
}
