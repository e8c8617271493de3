#include "tests/lib/nats_server.h"

#include "tests/lib/free_port.h"
#include "tests/lib/unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { START_LIMIT_MS = 10000 };

static struct sockaddr_in address(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* ---- the process ---- */

static void become_server(const struct nats_server *server)
{
    char port[16];
    char data[sizeof server->folder + 8];
    char log[sizeof server->folder + 8];
    snprintf(port, sizeof port, "%d", server->port);
    snprintf(data, sizeof data, "%s/data", server->folder);
    snprintf(log, sizeof log, "%s/log", server->folder);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("nats-server", "nats-server", "-js", "-a", "127.0.0.1", "-p", port, "-sd", data, "-l",
           log, (char *)NULL);
    execl("/usr/sbin/nats-server", "nats-server", "-js", "-a", "127.0.0.1", "-p", port, "-sd", data,
          "-l", log, (char *)NULL);
    _exit(127);
}

static bool greets(const struct nats_server *server)
{
    struct sockaddr_in at = address(server->port);
    char greeting[5] = "";
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = connect(fd, (struct sockaddr *)&at, sizeof at) == 0 && read(fd, greeting, 4) == 4 &&
                strcmp(greeting, "INFO") == 0;
    close(fd);
    return good;
}

void nats_server_again(struct nats_server *server)
{
    int64_t waited_ms = 0;
    assert_int_equal(server->pid, 0);
    server->pid = fork();
    assert_return_code(server->pid, 0);
    if (server->pid == 0)
        become_server(server);
    while (!greets(server)) {
        assert_int_equal(waitpid(server->pid, NULL, WNOHANG), 0);
        assert_true(waited_ms < START_LIMIT_MS);
        waited_ms += 10;
        poll(NULL, 0, 10);
    }
}

static void signal_and_wait(struct nats_server *server, int number)
{
    assert_true(server->pid > 0);
    kill(server->pid, number);
    assert_int_equal(waitpid(server->pid, NULL, 0), server->pid); /* a frozen one too */
    server->pid = 0;
}

void nats_server_stop(struct nats_server *server)
{
    signal_and_wait(server, SIGTERM);
}

void nats_server_kill(struct nats_server *server)
{
    signal_and_wait(server, SIGKILL);
}

void nats_server_freeze(struct nats_server *server)
{
    int status = 0;
    assert_return_code(kill(server->pid, SIGSTOP), 0);
    assert_int_equal(waitpid(server->pid, &status, WUNTRACED), server->pid);
    assert_true(WIFSTOPPED(status)); /* all its threads */
}

void nats_server_thaw(struct nats_server *server)
{
    assert_return_code(kill(server->pid, SIGCONT), 0);
}

/* ---- its data ---- */

static void shell(const struct nats_server *server, const char *command)
{
    pid_t pid = fork();
    int status = -1;
    assert_return_code(pid, 0);
    if (pid == 0) {
        if (chdir(server->folder) == 0)
            execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

void nats_server_keep_data(struct nats_server *server)
{
    assert_int_equal(server->pid, 0);
    shell(server, "rm -rf kept && cp -a data kept");
}

void nats_server_restore_data(struct nats_server *server)
{
    assert_int_equal(server->pid, 0);
    shell(server, "rm -rf data && cp -a kept data");
}

void nats_server_restore_messages(struct nats_server *server, const char *stream)
{
    char command[256];
    assert_int_equal(server->pid, 0);
    snprintf(command, sizeof command,
             "cd data/jetstream/'$G'/streams/%s && rm -rf msgs && "
             "cp -a \"$OLDPWD/kept/jetstream/\"'$G'/streams/%s/msgs msgs",
             stream, stream);
    shell(server, command);
}

void nats_server_wipe_data(struct nats_server *server)
{
    assert_int_equal(server->pid, 0);
    shell(server, "rm -rf data");
}

/* ---- start and end ---- */

void nats_server_start(struct nats_server *server)
{
    memset(server, 0, sizeof *server);
    snprintf(server->folder, sizeof server->folder, "/tmp/tidings-test-nats-XXXXXX");
    assert_non_null(mkdtemp(server->folder));
    server->port = free_port();
    snprintf(server->url, sizeof server->url, "nats://127.0.0.1:%d", server->port);
    nats_server_again(server);
}

void nats_server_end(struct nats_server *server)
{
    if (server->pid > 0)
        nats_server_kill(server);
    shell(server, "rm -rf \"$PWD\"");
}
