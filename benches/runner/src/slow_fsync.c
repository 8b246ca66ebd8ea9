/* Counts fsync and fdatasync and makes them slower by SLOW_FSYNC_US microseconds.
   The count goes to the file SLOW_FSYNC_COUNT when the program ends. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static atomic_long count;
static struct timespec delay;

__attribute__((constructor)) static void start(void) {
    const char *text = getenv("SLOW_FSYNC_US");
    long us = text ? atol(text) : 0;
    delay = (struct timespec){us / 1000000, us % 1000000 * 1000};
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("SLOW_FSYNC_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        fprintf(file, "%ld\n", atomic_load(&count));
        fclose(file);
    }
}

static int slowly(long number, int fd) {
    atomic_fetch_add(&count, 1);
    if (delay.tv_sec || delay.tv_nsec) nanosleep(&delay, NULL);
    return (int)syscall(number, fd);
}

int fsync(int fd) { return slowly(SYS_fsync, fd); }
int fdatasync(int fd) { return slowly(SYS_fdatasync, fd); }
