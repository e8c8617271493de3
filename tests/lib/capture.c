#include "tests/lib/capture.h"

#include <assert.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

void capture_begin(struct capture *c, int descriptor)
{
    fflush(NULL);
    c->descriptor = descriptor;
    c->saved = dup(descriptor);
    c->file = memfd_create("captured", MFD_CLOEXEC);
    assert(c->saved >= 0 && c->file >= 0);
    assert(dup2(c->file, descriptor) == descriptor);
}

size_t capture_end(struct capture *c, char *text, size_t size)
{
    ssize_t len;

    fflush(NULL);
    len = pread(c->file, text, size - 1, 0);
    assert(len >= 0);
    text[len] = '\0';
    assert(dup2(c->saved, c->descriptor) == c->descriptor);
    close(c->saved);
    close(c->file);
    return (size_t)len;
}
