#include "tests/lib/free_port.h"

#include "tests/lib/unit.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Below the ports that the kernel gives to clients. A program takes a block of them for as long as
 * it runs, by an abstract socket with the block's name; tests/lib/ports.py shares the blocks. */
enum { FIRST = 10000, BLOCK = 250, BLOCKS = 88 };

static bool takes_block(int block)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int length =
        snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "tidings-test-ports-%d", block);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1) + (socklen_t)length;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(fd, 0);
    if (bind(fd, (struct sockaddr *)&name, size) == 0)
        return true; /* open until the program ends */
    close(fd);
    return false;
}

static int take_block(void)
{
    for (int i = 0; i < BLOCKS; i++) {
        int block = (getpid() + i) % BLOCKS;
        if (takes_block(block))
            return block;
    }
    fail_msg("%d programs that run tests have all blocks of ports", BLOCKS);
    return 0;
}

static bool is_free(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)); /* as servers do */
    bool free = bind(fd, (struct sockaddr *)&at, sizeof at) == 0;
    close(fd);
    return free;
}

uint16_t free_port(void)
{
    static int block = -1, given;
    if (block < 0)
        block = take_block();
    while (given < BLOCK) {
        int port = FIRST + BLOCK * block + given++;
        if (is_free(port))
            return (uint16_t)port;
    }
    fail_msg("the %d ports from %d on are all taken", BLOCK, FIRST + BLOCK * block);
    return 0;
}
