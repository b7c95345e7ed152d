/* Preloaded into the program by tests/apps/test_faults.py: makes system calls of one rank fail as a bad disk makes them fail.
 *   BLISS_FAULT_RANK   the rank it happens on (default: every one)
 *   BLISS_FAULT_READ   reads of a file whose path holds this text fail (EIO) beyond BLISS_FAULT_AT bytes of it
 *   BLISS_FAULT_SYNC   which call of fdatasync fails (EIO), counted from 1
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_here(void) {
    const char *wanted = getenv("BLISS_FAULT_RANK");
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    return wanted == NULL || strcmp(wanted, rank ? rank : "0") == 0;
}

/* Whether a read that ends at this place of this file fails. */
static int fails(int descriptor, off_t end) {
    const char *name = getenv("BLISS_FAULT_READ"), *at = getenv("BLISS_FAULT_AT");
    char link[64], path[4096];
    ssize_t length;
    if (name == NULL || !is_here()) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = '\0';
    return strstr(path, name) != NULL && end > (at ? atol(at) : 0);
}

ssize_t read(int descriptor, void *buffer, size_t bytes) {
    static ssize_t (*next)(int, void *, size_t);
    if (!next) next = (ssize_t (*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    if (fails(descriptor, lseek(descriptor, 0, SEEK_CUR) + (off_t)bytes)) {
        errno = EIO;
        return -1;
    }
    return next(descriptor, buffer, bytes);
}

ssize_t pread64(int descriptor, void *buffer, size_t bytes, off64_t offset) {
    static ssize_t (*next)(int, void *, size_t, off64_t);
    if (!next) next = (ssize_t (*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64");
    if (fails(descriptor, offset + (off_t)bytes)) {
        errno = EIO;
        return -1;
    }
    return next(descriptor, buffer, bytes, offset);
}

ssize_t pread(int descriptor, void *buffer, size_t bytes, off_t offset) { return pread64(descriptor, buffer, bytes, offset); }

size_t fread(void *buffer, size_t size, size_t count, FILE *file) {
    static size_t (*next)(void *, size_t, size_t, FILE *);
    if (!next) next = (size_t (*)(void *, size_t, size_t, FILE *))dlsym(RTLD_NEXT, "fread");
    if (fails(fileno(file), ftello(file) + (off_t)(size * count))) {
        errno = EIO;
        return 0;
    }
    return next(buffer, size, count, file);
}

int fdatasync(int descriptor) {
    static int (*next)(int);
    static atomic_int calls;
    const char *which = getenv("BLISS_FAULT_SYNC");
    if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (which != NULL && is_here() && atomic_fetch_add(&calls, 1) + 1 == atoi(which)) {
        errno = EIO;
        return -1;
    }
    return next(descriptor);
}
